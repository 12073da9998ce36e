//! Which build this is.

/// The version of the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from, if `GATEWAY_COMMIT` was set at build time.
pub const COMMIT: Option<&str> = match option_env!("GATEWAY_COMMIT") {
    // A build argument of Docker that nobody gave is an empty variable.
    Some(commit) if !commit.is_empty() => Some(commit),
    _ => None,
};

/// Version and commit in one text: `0.1.0 (1a2b3c4)`.
#[must_use]
pub fn text() -> String {
    match COMMIT {
        Some(commit) => format!("{VERSION} ({commit})"),
        None => VERSION.to_owned(),
    }
}
