//! The members of a message, of its `params` and of `_meta` that concern a bridge, read without reading the others.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of a message.
#[derive(Debug, Default)]
pub(super) struct Envelope<'a> {
    pub(super) alike: Option<&'static str>,
    pub(super) jsonrpc: Option<&'a RawValue>,
    pub(super) id: Option<&'a RawValue>,
    pub(super) method: Option<&'a RawValue>,
    pub(super) params: Params<'a>,
    pub(super) result: Option<&'a RawValue>,
    pub(super) error: Option<&'a RawValue>,
}

/// The members of `params` that a bridge reads.
#[derive(Debug, Default)]
pub struct Params<'a> {
    /// Were there any params?
    pub present: bool,
    /// A member that another one [is like](super::Message::from_client).
    pub(super) alike: Option<&'static str>,
    /// `_meta`.
    pub meta: Meta<'a>,
    /// `progressToken` of `notifications/progress`.
    pub progress_token: Option<&'a RawValue>,
    /// `requestId` of `notifications/cancelled`.
    pub request_id: Option<&'a RawValue>,
    /// `name` of `tools/call` and `prompts/get`.
    pub name: Option<&'a RawValue>,
    /// `uri` of `resources/read`.
    pub uri: Option<&'a RawValue>,
    /// `arguments` of `tools/call`.
    pub arguments: Option<&'a RawValue>,
}

/// The members of `params._meta` that a bridge reads.
#[derive(Debug, Default)]
pub struct Meta<'a> {
    /// Was there a `_meta`?
    pub present: bool,
    /// A member that another one [is like](super::Message::from_client).
    pub(super) alike: Option<&'static str>,
    /// `progressToken` of a request.
    pub progress_token: Option<&'a RawValue>,
    /// `io.modelcontextprotocol/protocolVersion`.
    pub protocol_version: Option<&'a RawValue>,
    /// `io.modelcontextprotocol/clientCapabilities`.
    pub client_capabilities: Option<&'a RawValue>,
    /// `io.modelcontextprotocol/logLevel`.
    pub log_level: Option<&'a RawValue>,
    /// `io.modelcontextprotocol/subscriptionId`.
    pub subscription_id: Option<&'a RawValue>,
}

/// Reads the listed members of an object as raw values, refuses duplicates of them, and skips the rest. What is skipped and has a
/// name like one of them is noted.
macro_rules! object_of_raw_values {
    ($type:ident, $what:literal $(, marks $present:ident)?, { $($key:literal => $field:ident),* $(,)? } $(, nested $nested_key:literal => $nested_field:ident)?) => {
        impl<'de: 'a, 'a> Deserialize<'de> for $type<'a> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Object;
                impl<'de> Visitor<'de> for Object {
                    type Value = $type<'de>;
                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        formatter.write_str(concat!("`", $what, "` to be an object"))
                    }
                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                        let mut found = $type::default();
                        $(found.$present = true;)?
                        while let Some(key) = map.next_key::<Key<'de>>()? {
                            match key.0.as_ref() {
                                $($key => {
                                    if found.$field.replace(map.next_value()?).is_some() {
                                        return Err(A::Error::duplicate_field($key));
                                    }
                                })*
                                $($nested_key => {
                                    if found.$nested_field.present {
                                        return Err(A::Error::duplicate_field($nested_key));
                                    }
                                    found.$nested_field = map.next_value()?;
                                })?
                                other => {
                                    let known = [$($key,)* $($nested_key)?];
                                    if let Some(known) = known.into_iter().find(|known| is_like(other, known)) {
                                        found.alike = Some(known);
                                    }
                                    map.next_value::<IgnoredAny>()?;
                                }
                            }
                        }
                        Ok(found)
                    }
                }
                deserializer.deserialize_map(Object)
            }
        }
    };
}

/// Do readers that are less strict take the one name for the other? Some ignore the case of letters, each with its own idea of which
/// letters of Unicode are the same, and some ignore null characters at the end.
fn is_like(name: &str, known: &str) -> bool {
    fn folded(name: &str) -> impl Iterator<Item = char> {
        name.chars()
            .flat_map(char::to_uppercase)
            .flat_map(char::to_lowercase)
    }
    folded(name.trim_end_matches('\0')).eq(folded(known))
}

/// An object's key, borrowed unless it was escaped.
#[derive(Deserialize)]
pub(super) struct Key<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

object_of_raw_values!(Envelope, "a message", {
    "jsonrpc" => jsonrpc,
    "id" => id,
    "method" => method,
    "result" => result,
    "error" => error,
}, nested "params" => params);

object_of_raw_values!(Params, "params", marks present, {
    "progressToken" => progress_token,
    "requestId" => request_id,
    "name" => name,
    "uri" => uri,
    "arguments" => arguments,
}, nested "_meta" => meta);

object_of_raw_values!(Meta, "_meta", marks present, {
    "progressToken" => progress_token,
    "io.modelcontextprotocol/protocolVersion" => protocol_version,
    "io.modelcontextprotocol/clientCapabilities" => client_capabilities,
    "io.modelcontextprotocol/logLevel" => log_level,
    "io.modelcontextprotocol/subscriptionId" => subscription_id,
});
