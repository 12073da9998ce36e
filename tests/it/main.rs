//! Whole-system stories.

mod conformance;
mod layers;
mod traefik;
mod first_login;
mod sdk_clients;
mod github;
mod restart;
mod consent_attack;
mod answer;
mod bad_input;
mod secrets_in_logs;
mod dev;
mod discovery;
mod streams;
mod authorization_conformance;
