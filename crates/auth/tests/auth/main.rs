//! The authorization server at its HTTP boundary: the real binary, asked directly as Traefik asks it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says where"
)]

mod answer;
mod collector;
mod service;
mod sign_in;

mod administration;
mod audit;
mod audit_of_operators;
mod authorize;
mod bursts;
mod client_authentication;
mod clock;
mod commands;
mod configuration;
mod consent;
mod device;
mod disk;
mod doctor;
mod ended_people;
mod expiry;
mod forgeries;
mod github;
mod github_outage;
mod hygiene;
mod keys;
mod limits;
mod login;
mod metadata;
mod metrics;
mod operators;
mod outcome;
mod overload;
mod races;
mod redirects;
mod refresh;
mod refused_registrations;
mod register;
mod registration;
mod reload;
mod restart;
mod revoke;
mod secrets;
mod service_rules;
mod services;
mod sweep;
mod token;
mod traces;
mod transfer;
mod verify;
