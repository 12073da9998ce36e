//! The rules of OAuth 2.1 as the gateway applies them: pure types and decisions, no I/O.
