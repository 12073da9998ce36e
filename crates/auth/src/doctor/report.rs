//! What was found.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing breaks.
    Note,
    /// Somebody trips over it.
    Broken,
}

/// Kinds of clients, with what is known about where they look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) enum Who {
    #[serde(rename = "every client")]
    Everybody,
    #[serde(rename = "Claude")]
    Claude,
    #[serde(rename = "Claude Code")]
    ClaudeCode,
    #[serde(rename = "ChatGPT")]
    ChatGpt,
    #[serde(rename = "VS Code")]
    VsCode,
    #[serde(rename = "Cursor")]
    Cursor,
    #[serde(rename = "Codex")]
    Codex,
    #[serde(rename = "Gemini CLI")]
    Gemini,
    #[serde(rename = "clients in a browser (MCP Inspector)")]
    Browser,
    #[serde(rename = "clients built on the MCP SDKs")]
    Sdk,
    #[serde(rename = "the operator")]
    Operator,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Everybody => "every client",
            Self::Claude => "Claude",
            Self::ClaudeCode => "Claude Code",
            Self::ChatGpt => "ChatGPT",
            Self::VsCode => "VS Code",
            Self::Cursor => "Cursor",
            Self::Codex => "Codex",
            Self::Gemini => "Gemini CLI",
            Self::Browser => "clients in a browser (MCP Inspector)",
            Self::Sdk => "clients built on the MCP SDKs",
            Self::Operator => "the operator",
        })
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// The host, or a part of the installation.
    pub(crate) place: String,
    /// What was looked at.
    pub(crate) what: String,
    /// What is wrong, or worth knowing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) advice: Option<String>,
    /// Who trips over it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) clients: Vec<Who>,
}

/// Everything that was found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) findings: Vec<Finding>,
}

impl Report {
    /// Whether nobody trips over anything.
    pub(crate) fn is_well(&self) -> bool {
        self.worst() < Severity::Broken
    }

    fn worst(&self) -> Severity {
        let severities = self.findings.iter().map(|finding| finding.severity);
        severities.max().unwrap_or(Severity::Ok)
    }

    pub(crate) fn ok(&mut self, place: &str, what: impl Into<String>) {
        self.findings.push(Finding {
            severity: Severity::Ok,
            place: place.to_owned(),
            what: what.into(),
            problem: None,
            advice: None,
            clients: Vec::new(),
        });
    }

    pub(crate) fn note(
        &mut self,
        place: &str,
        what: impl Into<String>,
        problem: impl Into<String>,
    ) {
        self.findings.push(Finding {
            severity: Severity::Note,
            place: place.to_owned(),
            what: what.into(),
            problem: Some(problem.into()),
            advice: None,
            clients: Vec::new(),
        });
    }

    pub(crate) fn broken(
        &mut self,
        place: &str,
        what: impl Into<String>,
        problem: impl Into<String>,
        advice: &str,
        clients: &[Who],
    ) {
        self.findings.push(Finding {
            severity: Severity::Broken,
            place: place.to_owned(),
            what: what.into(),
            problem: Some(problem.into()),
            advice: Some(advice.to_owned()),
            clients: clients.to_vec(),
        });
    }

    /// Fine if there is no problem, else broken.
    pub(crate) fn check(
        &mut self,
        place: &str,
        what: impl Into<String>,
        outcome: Result<(), String>,
        advice: &str,
        clients: &[Who],
    ) -> bool {
        match outcome {
            Ok(()) => {
                self.ok(place, what);
                true
            }
            Err(problem) => {
                self.broken(place, what, problem, advice, clients);
                false
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut place = "";
        for finding in &self.findings {
            if finding.place != place {
                place = &finding.place;
                writeln!(f, "{place}")?;
            }
            let mark = match finding.severity {
                Severity::Ok => "ok   ",
                Severity::Note => "note ",
                Severity::Broken => "WRONG",
            };
            writeln!(f, "  {mark} {}", finding.what)?;
            if let Some(problem) = &finding.problem {
                writeln!(f, "        {}", chassis::telemetry::untrusted(problem))?;
            }
            if let Some(advice) = &finding.advice {
                writeln!(f, "        → {advice}")?;
            }
        }
        let mut trips: BTreeMap<Who, usize> = BTreeMap::new();
        let broken = self
            .findings
            .iter()
            .filter(|finding| finding.severity == Severity::Broken);
        for who in broken.clone().flat_map(|finding| &finding.clients) {
            *trips.entry(*who).or_default() += 1;
        }
        writeln!(f)?;
        if trips.is_empty() {
            return write!(
                f,
                "{} looked at, nobody trips over anything",
                self.findings.len()
            );
        }
        writeln!(
            f,
            "{} looked at, {} wrong:",
            self.findings.len(),
            broken.count()
        )?;
        for (who, times) in trips {
            writeln!(f, "  {who}: trips over {times}")?;
        }
        Ok(())
    }
}
