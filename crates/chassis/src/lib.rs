#![doc = include_str!("../README.md")]

pub mod build_info;
pub mod config;
pub mod health;
pub mod identity;
pub mod listen;
pub mod metrics;
pub mod open_files;
pub mod peer;
pub mod private;
pub mod shutdown;
pub mod telemetry;
