//! What a rule asks of a claim.

use mesh_filters_config::{Decode, Errors, Node, NonEmpty, object};
use serde_json::{Map, Value};

use super::path::{ClaimPath, ClaimSelector};

object! {
    /// A condition on a claim: one of `equals`, `contains`, `in` and `present`.
    pub struct ClaimMatch {
        /// The claim, with dots between the names of nested ones. Either this or
        /// `claim_path`.
        optional claim: ClaimSelector,
        /// The names of nested claims one by one, for names that hold dots.
        optional claim_path: NonEmpty<Vec<NonEmpty<String>>>,
        /// The claim is this, and of this type: `true` is not `"true"`.
        optional equals: Scalar,
        /// The claim is a list that holds this, or is this. Never a part of a
        /// text: `staff` is not in `nonstaff`.
        optional contains: Scalar,
        /// The claim is one of these, or a list that holds one of them.
        optional r#in: NonEmpty<Vec<Scalar>>,
        /// Whether there is such a claim.
        optional present: bool,
    }
}

/// A text, number or boolean.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar(Value);

impl Scalar {
    /// Whether a claim's value is this. Numbers are compared by value: an
    /// issuer's `3.0` is a configured `3`.
    fn is(&self, value: &Value) -> bool {
        match (self.0.as_f64(), value.as_f64()) {
            (Some(own), Some(other)) => self.0 == *value || own.to_bits() == other.to_bits(),
            _ => self.0 == *value,
        }
    }
}

impl Decode for Scalar {
    fn decode(node: &Node<'_>) -> Option<Self> {
        match node.value() {
            Value::String(_) | Value::Number(_) | Value::Bool(_) => {
                Some(Self(node.value().clone()))
            }
            _ => node.expected("a text, a number, true or false"),
        }
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Scalar {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": ["string", "number", "boolean"]})
    }
}

#[derive(Debug, Clone)]
enum Operator {
    Equals(Scalar),
    HoldsOneOf(Vec<Scalar>),
    Present(bool),
}

/// A compiled condition on a claim.
#[derive(Debug, Clone)]
pub struct ClaimCondition {
    path: ClaimPath,
    operator: Operator,
}

impl ClaimCondition {
    /// Compiles the condition that stands at `at`.
    pub fn compile(config: &ClaimMatch, at: &str, errors: &Errors) -> Option<Self> {
        let path =
            ClaimPath::compile(config.claim.as_ref(), config.claim_path.as_ref(), at, errors);
        let found = [
            config.equals.clone().map(Operator::Equals),
            config.contains.clone().map(|one| Operator::HoldsOneOf(vec![one])),
            config.r#in.as_ref().map(|list| Operator::HoldsOneOf(list.to_vec())),
            config.present.map(Operator::Present),
        ];
        let mut found = found.into_iter().flatten();
        let (Some(operator), None) = (found.next(), found.next()) else {
            errors.add_about_fields(at, "must have exactly one of equals, contains, in, present");
            return None;
        };
        Some(Self { path: path?, operator })
    }

    /// Whether the claims meet it. A claim that is missing meets `present: false`
    /// only.
    pub fn is_met(&self, claims: &Map<String, Value>) -> bool {
        match (&self.operator, self.path.find(claims)) {
            (Operator::Present(present), value) => value.is_some() == *present,
            (Operator::Equals(scalar), Some(value)) => scalar.is(value),
            (Operator::HoldsOneOf(list), Some(Value::Array(items))) => {
                items.iter().any(|item| list.iter().any(|scalar| scalar.is(item)))
            }
            (Operator::HoldsOneOf(list), Some(value)) => list.iter().any(|scalar| scalar.is(value)),
            (_, None) => false,
        }
    }
}

impl Decode for ClaimCondition {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let config = ClaimMatch::decode(node)?;
        Self::compile(&config, &node.path(), node.errors())
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for ClaimCondition {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        ClaimMatch::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        generator.subschema_for::<ClaimMatch>()
    }
}
