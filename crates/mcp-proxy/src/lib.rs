//! One unmodified stdio MCP server behind MCP Streamable HTTP.
