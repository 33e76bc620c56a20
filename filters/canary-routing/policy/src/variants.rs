//! What a configuration says of an experiment's variants, and whether that can be.

use std::fmt;

use mesh_filters_config::{Errors, Identifier, Percentage};
use mesh_filters_policy::matcher::Condition;

use crate::config::{AssignConfig, ExperimentConfig, WeightConfig};
use crate::shares::VariantId;

/// More variants of one thing are a mistake, and each has counters of its own.
const MAX_VARIANTS: usize = 16;

/// More rules are a mistake, and each is tried for every request.
const MAX_RULES: usize = 256;

/// An experiment's configuration, as far as it is about variants.
pub(crate) struct Variants<'a> {
    pub config: &'a ExperimentConfig,
    pub path: &'a str,
    pub errors: &'a Errors,
}

impl Variants<'_> {
    /// Names and weights, in thousandths of a percent.
    pub fn weights(&self) -> Vec<(String, u32)> {
        let weight = |it: &WeightConfig| (it.variant.as_str().to_owned(), it.weight.thousandths());
        self.config.weights.iter().map(weight).collect()
    }

    /// The names. Notes what is wrong with them and their weights.
    pub fn names(&self) -> Vec<String> {
        let Self { config, path, errors } = self;
        let weights = self.weights();
        let total: u64 = weights.iter().map(|(_, weight)| u64::from(*weight)).sum();
        if total != u64::from(Percentage::HUNDRED.thousandths()) {
            let (whole, rest) = (total / 1_000, total % 1_000);
            let total = format!("{whole}.{rest:03}");
            let total = total.trim_end_matches('0').trim_end_matches('.');
            errors.add(
                format_args!("{path}.weights"),
                format!("must add up to 100, and add up to {total}"),
            );
        }
        for (index, (name, _)) in weights.iter().enumerate() {
            if weights.iter().take(index).any(|(earlier, _)| earlier == name) {
                errors.add(
                    format_args!("{path}.weights[{index}].variant"),
                    format!("there is another variant \"{name}\""),
                );
            }
        }
        for (field, len, most) in
            [("weights", weights.len(), MAX_VARIANTS), ("assign", config.assign.len(), MAX_RULES)]
        {
            if len > most {
                errors.add(format_args!("{path}.{field}"), format!("must not be more than {most}"));
            }
        }
        weights.into_iter().map(|(name, _)| name).collect()
    }

    /// The place of a variant that is named at `at`.
    pub fn find(&self, name: &Identifier, at: impl fmt::Display) -> Option<VariantId> {
        let weights = &self.config.weights;
        let found = weights.iter().position(|it| it.variant == *name);
        if found.is_none() {
            let known: Vec<_> = weights.iter().map(|it| it.variant.as_str()).collect();
            self.errors.add(
                format_args!("{}.{at}", self.path),
                format!("there is no variant \"{}\"; known: {}", name.as_str(), known.join(", ")),
            );
        }
        found
    }

    /// The rules, each with its variant's place.
    pub fn rules(&self) -> Vec<(Condition, VariantId)> {
        let rules = self.config.assign.iter().enumerate();
        let compile = |(index, rule): (usize, &AssignConfig)| {
            let variant = self.find(&rule.variant, format_args!("assign[{index}].variant"))?;
            Some((rule.when.clone(), variant))
        };
        rules.filter_map(compile).collect()
    }

    /// The variant that takes keys first: the one whose weight changes by itself.
    pub fn first(&self) -> VariantId {
        let Self { config, path, errors } = self;
        let ramp = config.ramp.as_ref().map(|it| (&it.variant, "ramp"));
        let guard = config.guard.as_ref().map(|it| (&it.variant, "guard"));
        if let (Some((ramped, _)), Some((guarded, _))) = (ramp, guard)
            && ramped != guarded
        {
            errors.add(
                format_args!("{path}.guard.variant"),
                format!("must be the variant that the ramp is about, \"{}\"", ramped.as_str()),
            );
        }
        let Some((name, field)) = ramp.or(guard) else {
            return 0;
        };
        let Some(first) = self.find(name, format_args!("{field}.variant")) else {
            return 0;
        };
        let others = config.weights.iter().filter(|it| it.variant != *name);
        if others.map(|it| it.weight.thousandths()).max().unwrap_or_default() == 0 {
            errors.add(
                format_args!("{path}.weights"),
                format!(
                    "another variant than \"{}\" must have a weight, to take over",
                    name.as_str()
                ),
            );
        }
        first
    }
}
