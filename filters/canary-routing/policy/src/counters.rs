//! What is counted, and under which names.

use mesh_filters_policy::{CounterId, Reason};

use crate::shares::VariantId;

/// The names of the counters, in the order of their ids.
#[derive(Debug, Default)]
pub(crate) struct Names(Vec<String>);

impl Names {
    /// Adds a counter.
    pub fn add(&mut self, name: String) -> CounterId {
        self.0.push(name);
        CounterId(self.0.len() - 1)
    }

    /// All of them.
    pub fn to_vec(&self) -> Vec<String> {
        self.0.clone()
    }
}

/// Why a request got its variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A signed override named it.
    Override,
    /// A rule named it.
    Rule,
    /// The client is known, and this is its variant.
    Sticky,
    /// The weights drew it, for a client that is not known.
    Weight,
    /// The weights would have given another, which a guard leaves out.
    Guard,
    /// It did not get it: the experiment only looks on.
    Shadow,
}

impl Cause {
    pub const ALL: [Self; 6] =
        [Self::Override, Self::Rule, Self::Sticky, Self::Weight, Self::Guard, Self::Shadow];

    /// The label of metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Override => "override",
            Self::Rule => "rule",
            Self::Sticky => "sticky",
            Self::Weight => "weight",
            Self::Guard => "guard",
            Self::Shadow => "shadow",
        }
    }

    const fn detail(self) -> &'static str {
        match self {
            Self::Override => "canary_routing{override}",
            Self::Rule => "canary_routing{rule}",
            Self::Sticky => "canary_routing{sticky}",
            Self::Weight => "canary_routing{weight}",
            Self::Guard => "canary_routing{guard}",
            Self::Shadow => "canary_routing{shadow}",
        }
    }
}

/// The counters of one experiment's decisions: those that can go up.
#[derive(Debug)]
pub(crate) struct Decisions(Vec<(VariantId, Cause, CounterId)>);

impl Decisions {
    /// Declares a counter for each variant and cause that go together.
    pub fn new(
        experiment: &str,
        variants: &[String],
        goes_together: impl Fn(VariantId, Cause) -> bool,
        names: &mut Names,
    ) -> Self {
        let mut counters = Vec::new();
        for (id, variant) in variants.iter().enumerate() {
            for cause in Cause::ALL.into_iter().filter(|cause| goes_together(id, *cause)) {
                let name = format!(
                    "canary_routing.decisions.experiment.{experiment}.variant.{variant}.cause.{}",
                    cause.label()
                );
                counters.push((id, cause, names.add(name)));
            }
        }
        Self(counters)
    }

    /// The reason that goes with a decision; `None` if it was not foreseen.
    pub fn reason(&self, variant: VariantId, cause: Cause) -> Option<Reason> {
        let mut counters = self.0.iter();
        let (.., counter) = counters.find(|(id, it, _)| (*id, *it) == (variant, cause))?;
        Some(Reason { detail: cause.detail(), counter: *counter })
    }
}
