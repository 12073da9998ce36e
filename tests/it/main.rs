//! Whole-system stories: the real binaries behind the real Traefik. One topic per file.

mod answer;
mod applications;
mod asking_servers;
mod authorization_conformance;
mod bad_messages;
mod bad_registration_and_sign_in;
mod bad_tokens;
mod conformance;
mod consent_attack;
mod dev;
mod discovery;
mod doctor;
mod first_login;
mod generated;
mod github;
mod layers;
mod openid;
mod pages;
mod real_servers;
mod replicas;
mod restart;
mod rolling;
mod sdk_clients;
mod secrets_in_logs;
mod streams;
mod traefik;
