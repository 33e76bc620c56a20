//! Rules: which requests need what.

use mesh_filters_config::{Errors, Identifier, NonEmpty};
use mesh_filters_policy::claims::{ClaimCondition, ClaimMatch};
use mesh_filters_policy::matcher::RequestMatch;
use mesh_filters_policy::{Headers, RequestPath};

use crate::claims::Claims;
use crate::config::{ProviderConfig, RequireConfig, RuleConfig, TokenConfig};
use crate::reason::Reason;

/// What a request needs.
pub(crate) enum Requirement {
    /// Nothing.
    Anonymous,
    /// Tokens.
    Tokens(TokenRequirements),
}

/// The tokens that a request needs.
pub(crate) struct TokenRequirements {
    pub mode: Mode,
    /// Never empty.
    pub tokens: Vec<TokenRequirement>,
    /// Whether a request without any token passes.
    pub allow_missing: bool,
}

/// How many of the tokens are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    All,
    Any,
}

/// One token, and what it must say.
pub(crate) struct TokenRequirement {
    /// The provider's place in the configuration.
    pub provider: usize,
    scopes: Vec<NonEmpty<String>>,
    claims: Vec<ClaimCondition>,
}

impl TokenRequirement {
    /// Checks what a valid token says.
    ///
    /// # Errors
    /// [`Reason::Scope`] or [`Reason::Claims`].
    pub fn check(&self, claims: &Claims) -> Result<(), Reason> {
        if !self.scopes.iter().all(|scope| claims.has_scope(scope)) {
            return Err(Reason::Scope);
        }
        if !self.claims.iter().all(|condition| condition.is_met(claims.all())) {
            return Err(Reason::Claims);
        }
        Ok(())
    }
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
        let compiler = Compiler { providers, errors };
        let compile = |(index, rule)| compiler.rule(rule, &format!("rules[{index}]"));
        Self(rules.iter().enumerate().filter_map(compile).collect())
    }

    /// What the first rule that is about this request asks for.
    pub fn requirement(&self, request: &Headers, path: &RequestPath<'_>) -> Option<&Requirement> {
        self.0.iter().find(|rule| rule.matcher.matches(request, path)).map(|rule| &rule.requirement)
    }
}

struct Compiler<'a> {
    providers: &'a [ProviderConfig],
    errors: &'a Errors,
}

impl Compiler<'_> {
    fn rule(&self, rule: &RuleConfig, path: &str) -> Option<Rule> {
        let requirement = match (rule.allow, &rule.require) {
            (Some(_), None) => Some(Requirement::Anonymous),
            (None, Some(require)) => {
                self.tokens(require, &format!("{path}.require")).map(Requirement::Tokens)
            }
            _ => {
                self.errors.add_about_fields(path, "must have either \"allow\" or \"require\"");
                None
            }
        };
        Some(Rule { matcher: rule.r#match.clone(), requirement: requirement? })
    }

    fn tokens(&self, require: &RequireConfig, path: &str) -> Option<TokenRequirements> {
        let list = |name: &str, tokens: &[TokenConfig]| {
            let compiled: Vec<_> = tokens
                .iter()
                .enumerate()
                .map(|(index, it)| {
                    let at = format!("{path}.{name}[{index}]");
                    self.token(&it.provider, &it.scopes, &it.claims, &at)
                })
                .collect();
            compiled.into_iter().collect::<Option<Vec<_>>>()
        };
        let (mode, tokens) = match (&require.provider, &require.all, &require.any) {
            (Some(provider), None, None) => {
                let token = self.token(provider, &require.scopes, &require.claims, path);
                (Mode::All, token.map(|token| vec![token]))
            }
            (None, Some(all), None) => (Mode::All, list("all", all)),
            (None, None, Some(any)) => (Mode::Any, list("any", any)),
            _ => {
                self.errors.add_about_fields(path, "must have exactly one of provider, all, any");
                return None;
            }
        };
        if require.provider.is_none() && !(require.scopes.is_empty() && require.claims.is_empty()) {
            self.errors.add(path, "scopes and claims go with a provider: put them inside the list");
        }
        Some(TokenRequirements { mode, tokens: tokens?, allow_missing: require.allow_missing })
    }

    fn token(
        &self,
        provider: &Identifier,
        scopes: &[NonEmpty<String>],
        claims: &[ClaimMatch],
        path: &str,
    ) -> Option<TokenRequirement> {
        let found = self.providers.iter().position(|it| it.name == *provider);
        if found.is_none() {
            let known: Vec<_> = self.providers.iter().map(|it| it.name.as_str()).collect();
            self.errors.add(
                format_args!("{path}.provider"),
                format!(
                    "there is no provider \"{}\"; known: {}",
                    provider.as_str(),
                    known.join(", ")
                ),
            );
        }
        let compile = |(index, it)| {
            ClaimCondition::compile(it, &format!("{path}.claims[{index}]"), self.errors)
        };
        let claims = claims.iter().enumerate().filter_map(compile).collect();
        Some(TokenRequirement { provider: found?, scopes: scopes.to_vec(), claims })
    }
}
