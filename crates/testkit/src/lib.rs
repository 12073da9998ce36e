#![doc = include_str!("../README.md")]

pub mod binaries;
pub mod browser;
pub mod chaos;
pub mod conformance;
pub mod gateway;
pub mod github;
pub mod mcp_client;
pub mod network;
pub mod person;
pub mod process;
pub mod raw;
pub mod redis;
pub mod sdk;
pub mod site;
pub mod traefik;
pub mod wait;
