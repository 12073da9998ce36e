//! One file per endpoint: parse, call a flow, render.

pub(crate) mod account;
pub(crate) mod admin;
pub(crate) mod authorize;
pub(crate) mod callback;
pub(crate) mod challenge;
pub(crate) mod consent;
pub(crate) mod cookie;
pub(crate) mod device;
pub(crate) mod error;
pub(crate) mod extract;
pub(crate) mod head;
pub(crate) mod introspect;
pub(crate) mod jwks;
pub(crate) mod limited;
pub(crate) mod login;
mod memory;
pub(crate) mod metadata;
pub(crate) mod outcome;
pub(crate) mod own_host;
pub(crate) mod pages;
pub(crate) mod public_service;
pub(crate) mod register;
pub(crate) mod registration;
pub(crate) mod revoke;
pub(crate) mod token;
pub(crate) mod verify;
