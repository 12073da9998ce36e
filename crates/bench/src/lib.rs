#![doc = include_str!("../README.md")]

pub mod auth;
pub mod awake;
pub mod connection;
pub mod load;
pub mod measure;
pub mod message;
pub mod target;
pub mod wrk;
