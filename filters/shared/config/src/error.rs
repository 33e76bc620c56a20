//! What is wrong with a configuration, said to an operator.

use std::cell::RefCell;
use std::fmt;

/// More mistakes than an operator reads at once; the rest is only counted.
const MAX_REPORTED: usize = 50;

/// One mistake: where it is and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Path into the configuration, such as `rules[2].require.scopes`; empty
    /// for the configuration as a whole.
    pub path: String,
    /// What is wrong, and what would be right. Never holds a secret.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.problem)
        } else {
            write!(f, "{}: {}", self.path, self.problem)
        }
    }
}

/// Every mistake of one configuration. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// The mistakes, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let noun = if count == 1 { "error" } else { "errors" };
        write!(f, "{count} {noun} in the configuration")?;
        for error in self.0.iter().take(MAX_REPORTED) {
            write!(f, "\n  {error}")?;
        }
        if count > MAX_REPORTED {
            write!(f, "\n  and {} more", count - MAX_REPORTED)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// The list that decoding adds to. Shared by all nodes of one configuration.
#[derive(Debug, Default)]
pub struct Errors(RefCell<Vec<ConfigError>>);

impl Errors {
    /// Notes one mistake.
    pub fn add(&self, path: impl fmt::Display, problem: impl Into<String>) {
        self.0.borrow_mut().push(ConfigError { path: path.to_string(), problem: problem.into() });
    }

    /// Notes a mistake about how the fields at `path` go together, unless one of
    /// them was refused already: then it is a consequence, not a mistake.
    pub fn add_about_fields(&self, path: impl fmt::Display, problem: impl Into<String>) {
        let path = path.to_string();
        let inside = format!("{path}.");
        let refused = self.0.borrow().iter().any(|error| error.path.starts_with(&inside));
        if !refused {
            self.add(path, problem);
        }
    }

    /// Returns `value` if nothing was noted, and otherwise every mistake.
    ///
    /// A decoder that gives no value has said why; if one ever does not, that
    /// is said too, so that a configuration is never accepted half.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, ConfigErrors> {
        let errors = self.0.into_inner();
        match value {
            Some(value) if errors.is_empty() => Ok(value),
            None if errors.is_empty() => Err(ConfigErrors(vec![ConfigError {
                path: String::new(),
                problem: "the configuration could not be read".into(),
            }])),
            _ => Err(ConfigErrors(errors)),
        }
    }
}
