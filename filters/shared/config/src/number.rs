//! Numbers and moments, checked where they are read.

use prost_types::Timestamp;
use serde_json::Value;

use crate::node::{Decode, Node};

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bounded<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Bounded<MIN, MAX> {
    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64> Decode for Bounded<MIN, MAX> {
    fn decode(node: &Node<'_>) -> Option<Self> {
        match node.value().as_u64().filter(|number| (MIN..=MAX).contains(number)) {
            Some(number) => Some(Self(number)),
            None => node.refuse(format!("must be a whole number from {MIN} to {MAX}")),
        }
    }
}

/// A percentage, exact to a thousandth of a percent: `0.5` is half a percent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percentage(u32);

impl Percentage {
    /// All of it.
    pub const HUNDRED: Self = Self(100_000);

    /// Thousandths of a percent, from 0 to 100,000.
    pub const fn thousandths(self) -> u32 {
        self.0
    }
}

impl Decode for Percentage {
    fn decode(node: &Node<'_>) -> Option<Self> {
        match thousandths(node.value()).filter(|it| *it <= Self::HUNDRED.0) {
            Some(thousandths) => Some(Self(thousandths)),
            None => node.refuse("must be a percentage from 0 to 100 with at most three decimals"),
        }
    }
}

/// A factor such as `1.5`, exact to a thousandth, from 1 to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ratio(u32);

impl Ratio {
    /// Thousandths of the factor.
    pub const fn thousandths(self) -> u32 {
        self.0
    }
}

impl Decode for Ratio {
    fn decode(node: &Node<'_>) -> Option<Self> {
        match thousandths(node.value()).filter(|it| (1_000..=1_000_000).contains(it)) {
            Some(thousandths) => Some(Self(thousandths)),
            None => node.refuse("must be a number from 1 to 1000 with at most three decimals"),
        }
    }
}

/// A number in thousandths, if it is a whole number of them.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be whole and in range"
)]
fn thousandths(value: &Value) -> Option<u32> {
    // Decimals such as 99.995 have no exact double, so the product is off by a hair.
    const NEAR: f64 = 1e-6;
    let thousandths = value.as_f64()? * 1_000.0;
    let whole = thousandths.round();
    let exact = (thousandths - whole).abs() < NEAR && (0.0..=f64::from(u32::MAX)).contains(&whole);
    exact.then_some(whole as u32)
}

/// A moment as RFC 3339 writes it, from 1970 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// Nanoseconds since 1970-01-01T00:00:00Z, without leap seconds.
    pub const fn unix_nanos(self) -> u64 {
        self.0
    }
}

impl Decode for Moment {
    fn decode(node: &Node<'_>) -> Option<Self> {
        parse_moment(node.string()?).map(Self).or_else(|| {
            node.refuse(
                "must be a moment with its time zone, such as \"2026-12-01T00:00:00Z\" or \
                 \"2026-12-01T09:00:00+09:00\" (RFC 3339)",
            )
        })
    }
}

fn parse_moment(text: &str) -> Option<u64> {
    // The parser also takes dates without a time, and times without a zone.
    let (date, time) = text.split_once('T')?;
    let has_zone = time.ends_with('Z') || time.contains(['+', '-']);
    if date.len() != 10 || time.len() < 9 || !has_zone {
        return None;
    }
    let Timestamp { seconds, nanos } = text.parse().ok()?;
    let seconds = u64::try_from(seconds).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(u64::try_from(nanos).ok()?)
}

#[cfg(feature = "schema")]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::{Bounded, Moment, Percentage, Ratio};

    impl<const MIN: u64, const MAX: u64> JsonSchema for Bounded<MIN, MAX> {
        fn inline_schema() -> bool {
            true
        }

        fn schema_name() -> Cow<'static, str> {
            format!("From{MIN}To{MAX}").into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({"type": "integer", "minimum": MIN, "maximum": MAX})
        }
    }

    impl JsonSchema for Percentage {
        fn schema_name() -> Cow<'static, str> {
            "Percentage".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({"type": "number", "minimum": 0, "maximum": 100})
        }
    }

    impl JsonSchema for Ratio {
        fn schema_name() -> Cow<'static, str> {
            "Ratio".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({"type": "number", "minimum": 1, "maximum": 1000})
        }
    }

    impl JsonSchema for Moment {
        fn schema_name() -> Cow<'static, str> {
            "Moment".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({"type": "string", "format": "date-time"})
        }
    }
}
