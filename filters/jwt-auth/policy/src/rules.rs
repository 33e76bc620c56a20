//! Rules: which requests need what.

use mesh_filters_config::Errors;
use mesh_filters_policy::RequestPath;
use mesh_filters_policy::matcher::RequestMatch;

use crate::config::{ProviderConfig, RuleConfig};

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requirement {
    /// Nothing.
    Anonymous,
    /// A valid token of the provider with this index.
    Provider(usize),
}

struct Rule {
    matcher: RequestMatch,
    requirement: Requirement,
}

/// The rules, in order.
pub(crate) struct Rules(Vec<Rule>);

impl Rules {
    /// Compiles the rules. Notes mistakes in `errors`; the rules that have one
    /// are left out, which only matters while there are mistakes.
    pub fn compile(rules: &[RuleConfig], providers: &[ProviderConfig], errors: &Errors) -> Self {
        let compile = |(index, rule): (usize, &RuleConfig)| {
            let path = format!("rules[{index}]");
            let requirement = match (rule.allow, &rule.require) {
                (Some(_), None) => Some(Requirement::Anonymous),
                (None, Some(require)) => {
                    let found = providers.iter().position(|it| it.name == require.provider);
                    if found.is_none() {
                        let known: Vec<_> = providers.iter().map(|it| it.name.as_str()).collect();
                        errors.add(
                            format_args!("{path}.require.provider"),
                            format!(
                                "there is no provider \"{}\"; known: {}",
                                require.provider.as_str(),
                                known.join(", ")
                            ),
                        );
                    }
                    found.map(Requirement::Provider)
                }
                _ => {
                    errors.add(path, "must have either \"allow\" or \"require\"");
                    None
                }
            };
            Some(Rule { matcher: (&rule.r#match).into(), requirement: requirement? })
        };
        Self(rules.iter().enumerate().filter_map(compile).collect())
    }

    /// What the first rule that is about this request asks for.
    pub fn requirement(&self, path: &RequestPath<'_>) -> Option<Requirement> {
        self.0.iter().find(|rule| rule.matcher.matches(path)).map(|rule| rule.requirement)
    }
}
