//! What the tests are written with: a fake GitHub, a browser, process starters, scripted MCP servers.

pub mod binaries;
pub mod browser;
pub mod conformance;
pub mod github;
pub mod network;
pub mod process;
pub mod wait;
