//! What the tests are written with: a fake GitHub, a browser, process starters, scripted MCP servers.
