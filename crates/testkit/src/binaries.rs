//! Where the binaries under test are: beside the test executable, where cargo put them.

use std::path::{Path, PathBuf};

/// `mcp-auth`, the authorization server.
#[must_use]
pub fn mcp_auth() -> PathBuf {
    built("mcp-auth")
}

/// `mcp-proxy`, the bridge.
#[must_use]
pub fn mcp_proxy() -> PathBuf {
    built("mcp-proxy")
}

/// `mcp-echo`, the diagnostic MCP server.
#[must_use]
pub fn mcp_echo() -> PathBuf {
    built("mcp-echo")
}

/// The path of a binary of this workspace in the target directory that the running test was built into.
///
/// # Panics
///
/// If it was not built. `cargo test -p …` builds the libraries of other crates but not their binaries, so this says which
/// command does.
#[must_use]
pub fn built(name: &str) -> PathBuf {
    let path = target_directory().join(name);
    assert!(
        path.is_file(),
        "{} is not there; build the binaries first: cargo build --workspace --bins",
        path.display()
    );
    path
}

/// The top of the source tree.
///
/// # Panics
///
/// Never where cargo builds this crate: `crates/testkit` is two levels below it.
#[must_use]
pub fn workspace() -> PathBuf {
    match Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2) {
        Some(top) => top.to_owned(),
        None => unreachable!("this crate is at crates/testkit"),
    }
}

/// Where `scripts/tools.py` puts what the tests need: `.tools`, or `GATEWAY_TOOLS`.
#[must_use]
pub fn tools() -> PathBuf {
    std::env::var_os("GATEWAY_TOOLS").map_or_else(|| workspace().join(".tools"), PathBuf::from)
}

/// A tool in `bin` there, such as `traefik`.
///
/// # Panics
///
/// If it is not there.
#[must_use]
pub fn tool(name: &str) -> PathBuf {
    let path = tools().join("bin").join(name);
    assert!(
        path.exists(),
        "{} is not there; run ./justw test once, or python3 scripts/tools.py test",
        path.display()
    );
    path
}

/// `target/debug`: the test executable is in its `deps`.
fn target_directory() -> PathBuf {
    let executable = match std::env::current_exe() {
        Ok(path) => path,
        Err(error) => unreachable!("a running process has an executable: {error}"),
    };
    let directory = executable.parent().unwrap_or(Path::new("."));
    if directory.ends_with("deps") || directory.ends_with("examples") {
        directory.parent().unwrap_or(directory).to_owned()
    } else {
        directory.to_owned()
    }
}
