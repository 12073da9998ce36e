//! The OAuth 2.1 authorization server of the MCP OAuth Gateway and the forwardAuth endpoint /verify.
