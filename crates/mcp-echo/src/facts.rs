use std::collections::BTreeMap;
use std::time::Instant;

/// What the process knows of itself, gathered once at the start.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) started: Instant,
    pub(crate) arguments: Vec<String>,
    pub(crate) directory: Option<String>,
    /// Values are absent for variables that may hold a secret: they are dropped here, so that no tool can show them.
    pub(crate) environment: BTreeMap<String, Option<String>>,
}

impl Facts {
    /// Looks at this process.
    pub(crate) fn gather() -> Self {
        let environment = std::env::vars_os()
            .map(|(name, value)| {
                let name = name.to_string_lossy().into_owned();
                let value = is_harmless(&name).then(|| value.to_string_lossy().into_owned());
                (name, value)
            })
            .collect();
        Self {
            started: Instant::now(),
            arguments: std::env::args_os()
                .map(|argument| argument.to_string_lossy().into_owned())
                .collect(),
            directory: std::env::current_dir()
                .ok()
                .map(|directory| directory.to_string_lossy().into_owned()),
            environment,
        }
    }
}

/// Whether the value of a variable may be shown: a list of names that never hold secrets, and `MCP_ECHO_…`, which is there to be
/// shown. A name that speaks of a secret is never shown.
fn is_harmless(name: &str) -> bool {
    const HARMLESS: [&str; 12] = [
        "HOME", "HOSTNAME", "LANG", "LOGNAME", "PATH", "PWD", "SHELL", "SHLVL", "TERM", "TMPDIR",
        "TZ", "USER",
    ];
    const SECRET: [&str; 6] = ["SECRET", "TOKEN", "PASS", "KEY", "CREDENTIAL", "AUTH"];

    let upper = name.to_ascii_uppercase();
    if SECRET.iter().any(|word| upper.contains(word)) {
        return false;
    }
    HARMLESS.contains(&name) || name.starts_with("LC_") || name.starts_with("MCP_ECHO_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_variables_are_harmless() {
        for name in ["PATH", "LC_ALL", "MCP_ECHO_PERSON"] {
            assert!(is_harmless(name), "{name}");
        }
        for name in [
            "GITHUB_CLIENT_SECRET",
            "DATABASE_URL",
            "path",
            "MCP_ECHO_API_KEY",
            "mcp_echo_x",
        ] {
            assert!(!is_harmless(name), "{name}");
        }
    }
}
