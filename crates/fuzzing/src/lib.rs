#![doc = include_str!("../README.md")]
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a target ends where what must hold does not"
)]

pub mod authorization;
pub mod bridge;

/// A target: takes any bytes, panics when something that must hold does not.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 11] = [
    ("framing", bridge::framing),
    ("envelope", bridge::envelope),
    ("headers", bridge::headers),
    ("sse", bridge::sse),
    ("authorize_query", authorization::authorize_query),
    ("token_form", authorization::token_form),
    ("registration", authorization::registration),
    ("jwt_claims", authorization::jwt_claims),
    ("host", authorization::host),
    ("redirect", authorization::redirect),
    ("client_document", authorization::client_document),
];
