//! From the bytes that a host hands over to a value.
//!
//! Envoy hands over the text of a `google.protobuf.StringValue`, which is also
//! what Istio and Consul send, and the *serialized message* of a
//! `google.protobuf.Struct`, which is what plain YAML in an Envoy file becomes
//! (seen on Envoy 1.36 to 1.40).

use std::fmt;

use prost::Message;
use prost_types::{Struct, value::Kind};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::{ConfigError, ConfigErrors, Errors};
use crate::node::{Decode, Node};

/// The largest configuration that is read. Key sets are the largest part of
/// one, and a hundred RSA keys take 50 KiB.
pub const MAX_CONFIG_BYTES: usize = 1 << 20;

/// The first byte of a serialized `Struct`: field 1, length-delimited. It is
/// also a line feed, with which JSON text may start.
const STRUCT_TAG: u8 = 0x0a;

/// Returns what `T` makes of the configuration in `bytes`: JSON text or a
/// serialized `google.protobuf.Struct`.
///
/// # Errors
/// Every mistake found, with its path.
pub fn parse<T: Decode>(bytes: &[u8]) -> Result<T, ConfigErrors> {
    compile(bytes, |config, _| Some(config))
}

/// Like [`parse`], and hands what was decoded to `check`, which compiles it and
/// notes what only shows once the parts are seen together. It runs even after a
/// mistake, as long as nothing that must be there is missing, so that an operator
/// is told of both kinds at once.
///
/// # Errors
/// Every mistake found, with its path.
pub fn compile<T: Decode, P>(
    bytes: &[u8],
    check: impl FnOnce(T, &Errors) -> Option<P>,
) -> Result<P, ConfigErrors> {
    let value = value(bytes).map_err(|problem| ConfigError { path: String::new(), problem })?;
    let errors = Errors::default();
    let compiled =
        T::decode(&Node::root(&value, &errors)).and_then(|config| check(config, &errors));
    errors.finish(compiled)
}

fn value(bytes: &[u8]) -> Result<Value, String> {
    if bytes.len() > MAX_CONFIG_BYTES {
        return Err(format!(
            "the configuration has {} bytes; at most {MAX_CONFIG_BYTES} are read",
            bytes.len()
        ));
    }
    // What Envoy hands over for an empty Struct, and for no configuration at all.
    if bytes.trim_ascii().is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    let json_error = match json(bytes) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    if bytes.first() == Some(&STRUCT_TAG)
        && let Ok(message) = Struct::decode(bytes)
    {
        return from_struct(message);
    }
    Err(format!(
        "the configuration is neither JSON text nor a google.protobuf.Struct: {json_error}"
    ))
}

/// Returns the JSON value in `bytes` (RFC 8259).
///
/// # Errors
/// What `serde_json` says, and an object that has a name twice at any depth: of
/// these, readers disagree which one counts.
pub fn json(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = UniqueKeys.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

fn from_struct(message: Struct) -> Result<Value, String> {
    message
        .fields
        .into_iter()
        .map(|(key, value)| Ok((key, from_kind(value.kind)?)))
        .collect::<Result<Map<_, _>, _>>()
        .map(Value::Object)
}

fn from_kind(kind: Option<Kind>) -> Result<Value, String> {
    Ok(match kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::NumberValue(number)) => from_double(number)?,
        Some(Kind::StructValue(message)) => from_struct(message)?,
        Some(Kind::ListValue(list)) => Value::Array(
            list.values.into_iter().map(|item| from_kind(item.kind)).collect::<Result<_, _>>()?,
        ),
    })
}

/// A `Struct` has doubles only: `30` arrives as `30.0` and is made whole again,
/// up to where doubles are exact.
#[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
fn from_double(number: f64) -> Result<Value, String> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        return Ok(Value::from(number as i64));
    }
    Number::from_f64(number)
        .map(Value::Number)
        .ok_or_else(|| "the configuration holds a number that is not finite".into())
}

/// Decodes a [`Value`] and refuses an object that has a key twice, of which
/// `serde_json` would silently keep the last.
struct UniqueKeys;

impl<'de> DeserializeSeed<'de> for UniqueKeys {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for UniqueKeys {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(Self)?;
            if fields.contains_key(&key) {
                return Err(serde::de::Error::custom(format_args!("\"{key}\" stands there twice")));
            }
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }
}
