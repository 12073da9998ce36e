//! People at their browsers: sign-in, consent, what they granted, and how long they may come in. The service runs in this
//! process, with a clock of the test's own.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says where"
)]

mod gateway;

mod openid;

mod account;
mod audit;
mod membership;
mod oidc;
mod oidc_attacks;
mod remembered;
mod withdrawn;
