//! What the tests are written with: a fake GitHub, a browser, process starters, scripted MCP servers.

pub mod binaries;
pub mod conformance;
pub mod network;
pub mod process;
pub mod wait;
