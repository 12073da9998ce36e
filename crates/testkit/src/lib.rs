#![doc = include_str!("../README.md")]

pub mod application;
pub mod binaries;
pub mod browser;
pub mod chaos;
pub mod chromium;
pub mod conformance;
pub mod dialogue;
pub mod gateway;
pub mod github;
pub mod mcp_client;
pub mod misconfigured;
pub mod model;
pub mod network;
pub mod openid;
pub mod person;
pub mod process;
pub mod raw;
pub mod redis;
pub mod sdk;
mod served;
pub mod site;
pub mod traefik;
pub mod wait;
