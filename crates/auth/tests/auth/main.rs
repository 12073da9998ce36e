//! The authorization server at its HTTP boundary: the real binary, asked directly as Traefik asks it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says where"
)]

mod answer;
mod service;
mod sign_in;

mod authorize;
mod configuration;
mod consent;
mod github;
mod hygiene;
mod login;
mod metadata;
mod redirects;
mod refresh;
mod register;
mod restart;
mod revoke;
mod token;
mod verify;
