//! How a record stands in a file or in Redis: the end of its life in milliseconds, a colon, the bytes.
//!
//! The end is part of the value, so that one compare covers it, and text, so that a Lua script and a person can read it.

use std::fmt;

use jiff::Timestamp;

use crate::backend::{Record, StoreError};

/// `<milliseconds since 1970, empty for never>:<bytes>`.
pub(crate) fn encode(record: &Record) -> Vec<u8> {
    let mut value = record
        .expires_at()
        .map(|end| end.as_millisecond().to_string())
        .unwrap_or_default()
        .into_bytes();
    value.push(b':');
    value.extend_from_slice(record.bytes());
    value
}

/// What [`encode`] wrote; `key` is for the error only.
pub(crate) fn decode(key: impl fmt::Display, value: &[u8]) -> Result<Record, StoreError> {
    let parsed = || {
        let colon = value.iter().position(|byte| *byte == b':')?;
        let (end, rest) = value.split_at_checked(colon)?;
        let end = match str::from_utf8(end).ok()? {
            "" => None,
            milliseconds => Some(Timestamp::from_millisecond(milliseconds.parse().ok()?).ok()?),
        };
        Some(Record::new(rest.get(1..)?.to_vec(), end))
    };
    parsed().ok_or_else(|| {
        StoreError::corrupt(
            key,
            "it does not begin with the end of its life; something else wrote it",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was() {
        for end in [None, Some(0), Some(-5), Some(1_795_000_000_123)] {
            let end = end.map(|end| Timestamp::from_millisecond(end).unwrap());
            for bytes in [&b""[..], b"{}", b":", b"\0\xff:"] {
                let record = Record::new(bytes.to_vec(), end);
                assert_eq!(decode("key", &encode(&record)).unwrap(), record);
            }
        }
    }

    #[test]
    fn a_foreign_value_is_an_error_that_names_the_key() {
        for value in [&b""[..], b"{}", b"tomorrow:{}", b"99999999999999999999:{}"] {
            let error = decode("client:one", value).unwrap_err();
            assert!(error.to_string().contains("client:one"), "{error}");
        }
    }
}
