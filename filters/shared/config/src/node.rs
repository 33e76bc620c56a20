//! A place in a configuration: a value, its path, and where to report mistakes.

use std::fmt;

use serde_json::{Map, Value};

use crate::error::Errors;

/// A type that a configuration can hold.
pub trait Decode: Sized {
    /// Returns the value, or `None` once the reason is noted at `node`.
    fn decode(node: &Node<'_>) -> Option<Self>;
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Key(&'a Step<'a>, &'a str),
    Index(&'a Step<'a>, usize),
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            // An empty key is shown, or the path would be that of what holds it.
            Self::Key(parent, "") => write!(f, "{}", Self::Key(parent, "\"\"")),
            Self::Key(Self::Root, key) => f.write_str(key),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// One value of a configuration, with its path.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    value: &'a Value,
    step: Step<'a>,
    errors: &'a Errors,
}

impl<'a> Node<'a> {
    /// The whole configuration.
    pub fn root(value: &'a Value, errors: &'a Errors) -> Self {
        Self { value, step: Step::Root, errors }
    }

    /// The value as it stands.
    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// The path from the top, such as `rules[2].require`.
    pub fn path(&self) -> String {
        self.step.to_string()
    }

    /// Where mistakes are noted.
    pub fn errors(&self) -> &'a Errors {
        self.errors
    }

    /// Notes that something is wrong here. Returns `None`, for `return`.
    pub fn refuse<T>(&self, problem: impl Into<String>) -> Option<T> {
        self.errors.add(self.step, problem);
        None
    }

    /// Notes that the fields here do not go together, unless one of them was
    /// refused already. Returns `None`, for `return`.
    pub fn refuse_fields<T>(&self, problem: impl Into<String>) -> Option<T> {
        self.errors.add_about_fields(self.step, problem);
        None
    }

    /// Notes a value of the wrong type. The value itself is not repeated: it
    /// may be a secret.
    pub fn expected<T>(&self, what: &str) -> Option<T> {
        let got = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        self.refuse(format!("must be {what}, not {got}"))
    }

    /// The value as text.
    pub fn string(&self) -> Option<&'a str> {
        match self.value {
            Value::String(text) => Some(text),
            _ => self.expected("a string"),
        }
    }

    /// The value as an object whose fields are then taken one by one.
    pub fn object(&self) -> Option<Object<'a>> {
        match self.value {
            Value::Object(fields) => Some(Object { node: *self, fields, known: Vec::new() }),
            _ => self.expected("an object"),
        }
    }
}

/// An object being decoded. [`Object::finish`] notes the fields nobody took.
pub struct Object<'a> {
    node: Node<'a>,
    fields: &'a Map<String, Value>,
    known: Vec<&'static str>,
}

/// What became of a field.
enum Field<T> {
    Absent,
    /// Noted as a mistake.
    Refused,
    Decoded(T),
}

impl Object<'_> {
    fn take<T: Decode>(&mut self, key: &'static str) -> Field<T> {
        self.known.push(key);
        let Some(value) = self.fields.get(key) else {
            return Field::Absent;
        };
        let step = Step::Key(&self.node.step, key);
        match T::decode(&Node { value, step, errors: self.node.errors }) {
            Some(decoded) => Field::Decoded(decoded),
            None => Field::Refused,
        }
    }

    /// A field that must be there.
    pub fn required<T: Decode>(&mut self, key: &'static str) -> Option<T> {
        match self.take(key) {
            Field::Decoded(value) => Some(value),
            Field::Refused => None,
            Field::Absent => {
                self.node.errors.add(Step::Key(&self.node.step, key), "is missing");
                None
            }
        }
    }

    /// A field that may be left out. One that was refused is noted and counts as
    /// left out, so that mistakes elsewhere are still found.
    pub fn optional<T: Decode>(&mut self, key: &'static str) -> Option<T> {
        match self.take(key) {
            Field::Decoded(value) => Some(value),
            Field::Refused | Field::Absent => None,
        }
    }

    /// A field with a default, itself given as configuration so that it passes
    /// the same checks. In place of one that was refused the default stands in,
    /// so that mistakes elsewhere are still found.
    pub fn or_default<T: Decode>(&mut self, key: &'static str, default: &Value) -> Option<T> {
        match self.take(key) {
            Field::Decoded(value) => Some(value),
            Field::Refused | Field::Absent => {
                let step = Step::Key(&self.node.step, key);
                T::decode(&Node { value: default, step, errors: self.node.errors })
            }
        }
    }

    /// Notes every field that was not asked for.
    pub fn finish(self) {
        for key in self.fields.keys().filter(|key| !self.known.contains(&key.as_str())) {
            self.node.errors.add(
                Step::Key(&self.node.step, key),
                format!("unknown field; known here: {}", self.known.join(", ")),
            );
        }
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let Value::Array(items) = node.value else {
            return node.expected("a list");
        };
        let decoded: Vec<Option<T>> = items
            .iter()
            .enumerate()
            .map(|(index, value)| {
                let step = Step::Index(&node.step, index);
                T::decode(&Node { value, step, errors: node.errors })
            })
            .collect();
        // Only now, so that every item has been looked at.
        decoded.into_iter().collect()
    }
}
