//! Several messages in one text (MCP 2025-03-26; JSON-RPC 2.0, section 6).

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Malformed, WHITESPACE};

/// Most messages of one batch.
pub const MAX_BATCH: usize = 1000;

/// Does the text begin an array?
#[must_use]
pub fn is_batch(text: &str) -> bool {
    text.trim_start_matches(WHITESPACE).starts_with('[')
}

/// Reads the members of a batch (MCP 2025-03-26) without reading into them. At most [`MAX_BATCH`]: the answer to a member may be
/// far longer than the member.
pub fn parse_batch(text: &str) -> Result<Vec<&str>, Malformed> {
    let Batch(members) =
        serde_json::from_str(text).map_err(|error| Malformed::NotJson(error.to_string()))?;
    if members.len() > MAX_BATCH {
        return Err(Malformed::NotJsonRpc(format!(
            "a batch must not have more than {MAX_BATCH} messages"
        )));
    }
    if members.is_empty() {
        return Err(Malformed::NotJsonRpc(
            "a batch must not be empty".to_owned(),
        ));
    }
    Ok(members.into_iter().map(RawValue::get).collect())
}

/// The members of an array, as far as one more than [`MAX_BATCH`].
struct Batch<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Batch<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Array;
        impl<'de> Visitor<'de> for Array {
            type Value = Batch<'de>;
            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Batch<'de>, A::Error> {
                let mut members = Vec::new();
                while members.len() <= MAX_BATCH
                    && let Some(member) = seq.next_element()?
                {
                    members.push(member);
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Batch(members))
            }
        }
        deserializer.deserialize_seq(Array)
    }
}
