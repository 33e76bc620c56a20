//! The declaration of a config object.

/// Declares a config object: its fields, which of them must be there, their
/// defaults and their documentation, once.
///
/// ```
/// mesh_filters_config::object! {
///     /// How long to wait.
///     pub struct Wait {
///         /// Who waits.
///         required name: String,
///         /// For how long.
///         default timeout: std::time::Duration = "2s",
///         /// Why.
///         optional reason: String,
///     }
/// }
/// ```
///
/// `required` gives a `T`, `default` a `T`, `optional` an `Option<T>`. A
/// default is a JSON literal and passes the field's own checks.
#[macro_export]
macro_rules! object {
    (
        $(#[doc = $doc:literal])+
        pub struct $name:ident {
            $( $(#[doc = $field_doc:literal])+ $kind:ident $field:ident : $type:ty $(= $default:tt)? ),+ $(,)?
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone)]
        pub struct $name {
            $( $(#[doc = $field_doc])+ pub $field: $crate::object!(@type $kind $type) ),+
        }

        impl $crate::Decode for $name {
            fn decode(node: &$crate::Node<'_>) -> Option<Self> {
                let mut object = node.object()?;
                $( let $field = $crate::object!(@take object $kind $field $(= $default)?); )+
                object.finish();
                Some(Self { $( $field: $crate::object!(@built $kind $field) ),+ })
            }
        }

        #[cfg(feature = "schema")]
        impl $crate::export::schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(
                generator: &mut $crate::export::schemars::SchemaGenerator,
            ) -> $crate::export::schemars::Schema {
                use $crate::export::{schemars, serde_json::{Map, Value, json}};
                let mut properties = Map::new();
                let mut required: Vec<&'static str> = Vec::new();
                $(
                    let mut field: schemars::Schema = generator.subschema_for::<$type>();
                    field.insert("description".into(), Value::from(concat!($($field_doc),+).trim()));
                    $( field.insert("default".into(), json!($default)); )?
                    properties.insert($crate::export::key(stringify!($field)).into(), field.into());
                    if stringify!($kind) == "required" {
                        required.push($crate::export::key(stringify!($field)));
                    }
                )+
                schemars::json_schema!({
                    "type": "object",
                    "description": concat!($($doc),+).trim(),
                    "properties": properties,
                    "required": required,
                    "additionalProperties": false,
                })
            }
        }
    };
    (@type required $type:ty) => { $type };
    (@type default $type:ty) => { $type };
    (@type optional $type:ty) => { Option<$type> };
    (@built optional $field:ident) => { $field };
    (@built $kind:ident $field:ident) => { $field? };
    (@take $object:ident required $field:ident) => { $object.required($crate::export::key(stringify!($field))) };
    (@take $object:ident optional $field:ident) => { $object.optional($crate::export::key(stringify!($field))) };
    (@take $object:ident default $field:ident = $default:tt) => {
        $object.or_default(
            $crate::export::key(stringify!($field)),
            &$crate::export::serde_json::json!($default),
        )
    };
}
