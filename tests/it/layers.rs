//! Who may depend on whom. The arrows are those of docs/architecture.md.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Each crate with the crates of ours that it may use outside its tests.
const ALLOWED: [(&str, &[&str]); 12] = [
    ("oauth", &[]),
    ("store", &["oauth"]),
    ("auth", &["oauth", "store", "chassis", "otlp"]),
    ("mcp-proxy", &["chassis"]),
    ("mcp-echo", &[]),
    ("chassis", &[]),
    ("otlp", &["chassis"]),
    ("testkit", &["oauth"]),
    ("bench", &["testkit", "oauth", "store"]),
    ("fuzzing", &["oauth", "mcp-proxy"]),
    ("reference", &["oauth", "auth", "mcp-proxy", "chassis"]),
    ("it", &[]),
];

/// What a layer must never link, because it would then do what it never does.
const FORBIDDEN: [(&str, &[&str]); 2] = [
    (
        "oauth",
        &["tokio", "actix-web", "reqwest", "redb", "deadpool-redis"],
    ),
    (
        "mcp-proxy",
        &["reqwest", "rustls", "jsonwebtoken", "aws-lc-rs"],
    ),
];

#[test]
fn dependencies_point_one_way() {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    let packages = metadata["packages"].as_array().expect("there are packages");
    let found: BTreeMap<&str, BTreeSet<&str>> = packages
        .iter()
        .map(|package| {
            let uses = package["dependencies"]
                .as_array()
                .expect("a package has dependencies")
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .filter_map(|dependency| dependency["name"].as_str())
                .collect();
            (
                package["name"].as_str().expect("a package has a name"),
                uses,
            )
        })
        .collect();
    let ours: BTreeSet<&str> = found.keys().copied().collect();
    assert_eq!(
        ours,
        ALLOWED.iter().map(|(name, _)| *name).collect(),
        "a crate is missing from the table"
    );
    for (name, allowed) in ALLOWED {
        let uses: BTreeSet<&str> = found[name].intersection(&ours).copied().collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        assert!(
            uses.is_subset(&allowed),
            "{name} uses {uses:?}, but may use {allowed:?}"
        );
    }
    for (name, forbidden) in FORBIDDEN {
        for other in forbidden {
            assert!(!found[name].contains(other), "{name} must not use {other}");
        }
    }
}
