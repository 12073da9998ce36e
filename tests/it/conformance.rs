//! The official conformance suite against `mcp-proxy` around stdio servers: those of the test kit, and two on the npm SDKs, so that no
//! private understanding of the protocol passes by itself.
//!
//! A requirement set of the suite names the scenarios that a revision of MCP asks for; the others of a run are reported, not scored.
//! What fails must be exactly what the checked-in list of expected failures says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use testkit::binaries::{built, mcp_proxy, tool, workspace};
use testkit::process::{Command, Logs, address};

/// For one run of the suite (about ten seconds on two idle cores); below the limit of nextest, so that this test says what hung.
const LIMIT: Duration = Duration::from_secs(100);

/// For one scenario, in the suite's own words: milliseconds. A scenario takes less than five seconds.
const SCENARIO_LIMIT: &str = "15000";

/// One way of running the suite.
struct Run {
    revision: &'static str,
    /// The stdio server behind the proxy.
    server: Server,
    /// How many scenarios the revision requires. The sets are frozen; another number means that the wrong suite is installed.
    scenarios: usize,
}

#[derive(Debug, Clone, Copy)]
enum Server {
    /// `conformance-legacy` of the test kit.
    Legacy,
    /// `conformance-dual` of the test kit.
    Dual,
    /// `sdk-legacy-server.mjs`, on the npm SDK that most servers of today are written with.
    LegacySdk,
    /// `sdk-dual-server.mjs`, on its successor.
    DualSdk,
}

impl Server {
    /// Does it speak the older revisions only?
    fn is_legacy(self) -> bool {
        matches!(self, Self::Legacy | Self::LegacySdk)
    }

    /// Program and arguments.
    fn command(self) -> Vec<PathBuf> {
        match self {
            Self::Legacy => vec![built("conformance-legacy")],
            Self::Dual => vec![built("conformance-dual")],
            Self::LegacySdk => Self::on_node("sdk-legacy-server.mjs"),
            Self::DualSdk => Self::on_node("sdk-dual-server.mjs"),
        }
    }

    fn on_node(script: &str) -> Vec<PathBuf> {
        let script = workspace().join("tests/conformance").join(script);
        vec![tool("node"), script, workspace().join(".tools/npm")]
    }
}

#[tokio::test]
async fn revision_2025_11_25_with_a_legacy_server() -> Result<()> {
    let run = Run {
        revision: "2025-11-25",
        server: Server::Legacy,
        scenarios: 30,
    };
    run.judge().await
}

#[tokio::test]
async fn revision_2025_11_25_with_a_server_on_the_npm_sdk() -> Result<()> {
    let run = Run {
        revision: "2025-11-25",
        server: Server::LegacySdk,
        scenarios: 30,
    };
    run.judge().await
}

#[tokio::test]
async fn revision_2026_07_28_with_a_legacy_server() -> Result<()> {
    let run = Run {
        revision: "2026-07-28",
        server: Server::Legacy,
        scenarios: 37,
    };
    run.judge().await
}

#[tokio::test]
async fn revision_2026_07_28_with_a_legacy_server_on_the_npm_sdk() -> Result<()> {
    let run = Run {
        revision: "2026-07-28",
        server: Server::LegacySdk,
        scenarios: 37,
    };
    run.judge().await
}

#[tokio::test]
async fn revision_2026_07_28_with_a_dual_era_server() -> Result<()> {
    let run = Run {
        revision: "2026-07-28",
        server: Server::Dual,
        scenarios: 37,
    };
    run.judge().await
}

#[tokio::test]
async fn revision_2026_07_28_with_a_server_on_the_npm_sdk() -> Result<()> {
    let run = Run {
        revision: "2026-07-28",
        server: Server::DualSdk,
        scenarios: 37,
    };
    run.judge().await
}

/// One check of a scenario, as the suite writes it to `checks.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    id: String,
    status: String,
    description: Option<String>,
    error_message: Option<String>,
    details: Option<serde_json::Value>,
}

impl Check {
    fn report(&self, scenario: &str) -> String {
        let mut text = format!("{} {scenario} / {}", self.status, self.id);
        for part in [&self.description, &self.error_message]
            .into_iter()
            .flatten()
        {
            let _ = write!(text, "\n    {part}");
        }
        if let Some(details) = &self.details {
            let details: String = details.to_string().chars().take(2000).collect();
            let _ = write!(text, "\n    {details}");
        }
        text
    }
}

/// The checks of each scenario.
type Results = BTreeMap<String, Vec<Check>>;

impl Run {
    async fn judge(&self) -> Result<()> {
        let logs = Logs::default();
        let required = self.required(&logs).await?;
        let expected = self.expected(&required)?;
        let results = self.results(&logs).await?;

        let mut failed = BTreeSet::new();
        let mut report = String::new();
        // What the proxy does by itself has no excuse.
        let besides = self.besides();
        for (scenario, checks) in &results {
            let found = |status: &str| checks.iter().filter(|check| check.status == status).count();
            if besides.contains(&&**scenario) && found("FAILURE") + found("WARNING") > 0 {
                failed.insert(scenario.clone());
            }
            if !required.contains(scenario) && !besides.contains(&&**scenario) {
                let (failures, warnings) = (found("FAILURE"), found("WARNING"));
                let _ = writeln!(
                    report,
                    "not scored: {scenario}: {failures} failures, {warnings} warnings"
                );
                continue;
            }
            for check in checks
                .iter()
                .filter(|check| matches!(check.status.as_str(), "FAILURE" | "WARNING"))
            {
                let _ = writeln!(report, "{}", check.report(scenario));
            }
            // Where the proxy translates, every word on the wire is the proxy's.
            let translated = self.revision == "2026-07-28" && self.server.is_legacy();
            if found("FAILURE") > 0 || (translated && found("WARNING") > 0) {
                failed.insert(scenario.clone());
            }
        }
        for scenario in required
            .iter()
            .map(String::as_str)
            .chain(besides.iter().copied())
        {
            if !results.contains_key(scenario) {
                let _ = writeln!(report, "FAILURE {scenario}: the suite wrote no result");
                failed.insert(scenario.to_owned());
            }
        }
        let passed = required
            .iter()
            .filter(|scenario| !failed.contains(*scenario))
            .count();
        eprintln!(
            "{report}\n{} with {:?}: {passed} of {}",
            self.revision,
            self.server,
            required.len()
        );

        let list = self.list();
        let unexpected: Vec<_> = failed.difference(&expected).collect();
        let mended: Vec<_> = expected.difference(&failed).collect();
        ensure!(
            unexpected.is_empty(),
            "fails, and {list} does not say so: {unexpected:?}\n{report}"
        );
        ensure!(
            mended.is_empty(),
            "passes now: remove it from the list {list}: {mended:?}"
        );
        Ok(())
    }

    /// Scenarios that the revision does not require and that must pass all the same, without a warning: the rules for headers, which
    /// are the proxy's own. The servers on the npm SDKs have no tool with arguments in headers.
    fn besides(&self) -> &'static [&'static str] {
        match (self.revision, self.server) {
            ("2026-07-28", Server::Legacy | Server::Dual) => &[
                "http-header-validation",
                "http-custom-header-server-validation",
            ],
            ("2026-07-28", _) => &["http-header-validation"],
            _ => &[],
        }
    }

    /// The list of expected failures. Every server of a revision has the same one: what fails with one of them fails because of
    /// the proxy.
    fn list(&self) -> String {
        format!("tests/conformance/expected-failures-{}.txt", self.revision)
    }

    /// The scenarios that the revision requires of a server.
    async fn required(&self, logs: &Logs) -> Result<BTreeSet<String>> {
        let list = suite(&["list", "--requirements", self.revision], logs).await?;
        let required: BTreeSet<String> = list
            .lines()
            .skip_while(|line| !line.starts_with("Server scenarios"))
            .skip(1)
            .map_while(|line| line.trim().strip_prefix("- "))
            .map(str::to_owned)
            .collect();
        ensure!(
            required.len() == self.scenarios,
            "{} scenarios are required, not {}:\n{list}",
            required.len(),
            self.scenarios
        );
        Ok(required)
    }

    /// The scenarios that are known to fail.
    fn expected(&self, required: &BTreeSet<String>) -> Result<BTreeSet<String>> {
        let path = workspace().join(self.list());
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let expected: BTreeSet<String> = lines.map(str::to_owned).collect();
        let strange: Vec<_> = expected.difference(required).collect();
        ensure!(
            strange.is_empty(),
            "{}: no scenarios of {}: {strange:?}",
            path.display(),
            self.revision
        );
        Ok(expected)
    }

    /// Starts the proxy around the server and runs the suite against it.
    async fn results(&self, logs: &Logs) -> Result<Results> {
        let directory = tempfile::tempdir()?;
        let address_file = directory.path().join("address");
        let mut proxy = Command::new("mcp-proxy", mcp_proxy())
            .args(["--host", "127.0.0.1", "--port", "0", "--address-file"])
            .arg(&address_file)
            .arg("--")
            .args(self.server.command())
            .env("PRIVATE_PORT", "0")
            .start(logs)?;
        let public = address(&mut proxy, &address_file, "public").await?;

        let url = format!("http://{public}/mcp");
        let results = directory.path().join("results");
        let output = results.display().to_string();
        let arguments = [
            "server",
            "--url",
            &url,
            "--requirements",
            self.revision,
            "--timeout",
            SCENARIO_LIMIT,
            "--output-dir",
            &output,
        ];
        suite(&arguments, logs).await?;
        if let Some(status) = proxy.ended()? {
            bail!("mcp-proxy ended during the run: {status}");
        }
        read_results(&results)
    }
}

/// Runs the suite and returns what it wrote to stdout. Its exit code says no more than its results do.
async fn suite(arguments: &[&str], logs: &Logs) -> Result<String> {
    let mut process = Command::new("suite", tool("mcp-conformance"))
        .args(arguments)
        .keep_stdout()
        .start(logs)?;
    let stdout = process.take_stdout().context("the suite has no stdout")?;
    let reading = tokio::task::spawn_blocking(move || std::io::read_to_string(stdout));
    let ended = process.wait(LIMIT).await;
    // Ends what still runs, so that the reading ends too.
    drop(process);
    let output = reading.await??;
    eprintln!("{output}");
    ended.with_context(|| {
        format!(
            "the suite {arguments:?} wrote\n{output}\nand the proxy\n{}",
            logs.text()
        )
    })?;
    Ok(output)
}

/// Reads `server-SCENARIO-TIME/checks.json` of every scenario.
fn read_results(directory: &Path) -> Result<Results> {
    let mut results = Results::new();
    let entries = std::fs::read_dir(directory).context("the suite wrote no results")?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // The time: 2026-07-28T12-00-00-000Z
        let scenario = name.strip_prefix("server-").and_then(|name| {
            name.get(..name.len().saturating_sub("-2026-07-28T12-00-00-000Z".len()))
        });
        let scenario =
            scenario.with_context(|| format!("{}: not a result of a scenario", path.display()))?;
        let Ok(text) = std::fs::read_to_string(path.join("checks.json")) else {
            // The directory is made before the scenario runs: this one did not come to an end.
            continue;
        };
        let checks =
            serde_json::from_str(&text).with_context(|| format!("{}: {text}", path.display()))?;
        results.insert(scenario.to_owned(), checks);
    }
    Ok(results)
}
