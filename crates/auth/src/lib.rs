#![doc = include_str!("../README.md")]

mod admin;
pub mod app;
mod audit;
pub mod cli;
mod client_document;
mod clock_check;
pub mod config;
mod counted;
mod disk;
mod doctor;
pub mod endpoints;
mod flow;
mod gauges;
mod http;
mod idp;
mod keys;
mod limits;
mod measured;
mod pages;
mod policy;
pub mod reference;
mod routes;
mod settings;
mod sweep;
#[doc(hidden)]
pub mod testing;
mod transfer;
