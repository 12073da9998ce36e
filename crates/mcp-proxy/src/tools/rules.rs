//! The rules: the first one that fits a person says which tools are theirs.

use std::sync::Arc;

use glob::{MatchOptions, Pattern};
use serde::{Deserialize, Serialize};

use crate::identity::Identity;

/// Some tools, by name. `*` and `?` stand for any characters and any one character, `[abc]` for one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ToolsConfig {
    /// Only these; every tool if not set.
    pub allow: Option<Vec<String>>,
    /// None of these.
    pub deny: Vec<String>,
}

/// Tools for some people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuleConfig {
    /// Only for these logins, with the same wildcards, whatever their case; for all if not set.
    pub logins: Option<Vec<String>>,
    /// Only for tokens that have all of these scopes.
    pub scopes: Vec<String>,
    /// Their tools.
    pub tools: ToolsConfig,
}

/// A pattern cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("has the pattern `{pattern}`, which is wrong: {error}")]
pub struct WrongPattern {
    pattern: String,
    error: glob::PatternError,
}

/// All rules of a service.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rules {
    rules: Vec<Rule>,
    /// For whom no rule fits.
    otherwise: Access,
}

#[derive(Debug, PartialEq, Eq)]
struct Rule {
    logins: Option<Vec<Pattern>>,
    scopes: Vec<String>,
    access: Access,
}

/// Which tools somebody may call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access(Option<Arc<Narrowed>>);

#[derive(Debug, PartialEq, Eq)]
struct Narrowed {
    allow: Option<Vec<Pattern>>,
    deny: Vec<Pattern>,
}

const LOGINS: MatchOptions = MatchOptions {
    case_sensitive: false,
    require_literal_separator: false,
    require_literal_leading_dot: false,
};

impl Rules {
    /// Reads the rules of a configuration.
    pub fn new(otherwise: &ToolsConfig, rules: &[RuleConfig]) -> Result<Self, WrongPattern> {
        let rules = rules.iter().map(|rule| {
            Ok(Rule {
                logins: rule.logins.as_deref().map(patterns).transpose()?,
                scopes: rule.scopes.clone(),
                access: Access::new(&rule.tools)?,
            })
        });
        Ok(Self {
            rules: rules.collect::<Result<_, _>>()?,
            otherwise: Access::new(otherwise)?,
        })
    }

    /// Do they keep tools from anybody?
    #[must_use]
    pub fn narrow(&self) -> bool {
        !self.otherwise.is_whole() || self.rules.iter().any(|rule| !rule.access.is_whole())
    }

    /// The tools of a person: those of the first rule that fits them. Nobody in particular fits only rules for all.
    #[must_use]
    pub fn access(&self, person: Option<&Identity>) -> Access {
        self.rules
            .iter()
            .find(|rule| rule.fits(person))
            .map_or(&self.otherwise, |rule| &rule.access)
            .clone()
    }
}

impl Rule {
    fn fits(&self, person: Option<&Identity>) -> bool {
        let login_fits = match (&self.logins, person) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(logins), Some(person)) => logins
                .iter()
                .any(|pattern| pattern.matches_with(&person.login, LOGINS)),
        };
        let scopes = person.map_or("", |person| &person.scope);
        let has = |wanted: &String| scopes.split(' ').any(|scope| scope == wanted);
        login_fits && self.scopes.iter().all(has)
    }
}

impl Access {
    fn new(config: &ToolsConfig) -> Result<Self, WrongPattern> {
        if config.allow.is_none() && config.deny.is_empty() {
            return Ok(Self(None));
        }
        Ok(Self(Some(Arc::new(Narrowed {
            allow: config.allow.as_deref().map(patterns).transpose()?,
            deny: patterns(&config.deny)?,
        }))))
    }

    /// May every tool be called?
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.is_none()
    }

    /// May this tool be called?
    #[must_use]
    pub fn allows(&self, tool: &str) -> bool {
        let Some(some) = &self.0 else {
            return true;
        };
        let among = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(tool));
        some.allow.as_deref().is_none_or(among) && !among(&some.deny)
    }
}

fn patterns(texts: &[String]) -> Result<Vec<Pattern>, WrongPattern> {
    texts
        .iter()
        .map(|text| {
            Pattern::new(text).map_err(|error| WrongPattern {
                pattern: text.clone(),
                error,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Owner;

    fn person(login: &str, scope: &str) -> Identity {
        Identity {
            owner: Owner {
                subject: "1".into(),
                client: "c".into(),
            },
            login: login.into(),
            scope: scope.into(),
        }
    }

    fn tools(allow: Option<&[&str]>, deny: &[&str]) -> ToolsConfig {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        ToolsConfig {
            allow: allow.map(owned),
            deny: owned(deny),
        }
    }

    fn rule(logins: Option<&[&str]>, scopes: &[&str], tools: ToolsConfig) -> RuleConfig {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        RuleConfig {
            logins: logins.map(owned),
            scopes: owned(scopes),
            tools,
        }
    }

    #[test]
    fn denied_wins_over_allowed_and_an_empty_list_allows_nothing() {
        let access =
            |allow: Option<&[&str]>, deny: &[&str]| Access::new(&tools(allow, deny)).unwrap();
        assert!(access(None, &[]).is_whole());
        assert!(access(None, &["delete_*"]).allows("read"));
        assert!(!access(None, &["delete_*"]).allows("delete_all"));
        assert!(access(Some(&["read_*"]), &[]).allows("read_file"));
        assert!(!access(Some(&["read_*"]), &[]).allows("write_file"));
        assert!(!access(Some(&["read_*"]), &["read_secret"]).allows("read_secret"));
        assert!(!access(Some(&[]), &[]).allows("read"));
        assert!(
            !access(Some(&["Read"]), &[]).allows("read"),
            "names have a case"
        );
        assert!(!access(Some(&["a*"]), &[]).allows("ba"));
        assert!(access(Some(&["a/*"]), &[]).allows("a/b/c"));
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules = Rules::new(
            &tools(Some(&["read"]), &[]),
            &[
                rule(Some(&["Mallory"]), &[], tools(Some(&[]), &[])),
                rule(None, &["admin", "mcp"], tools(None, &[])),
                rule(Some(&["team-*"]), &[], tools(None, &["delete"])),
            ],
        )
        .unwrap();
        let may = |person: Option<&Identity>, tool: &str| rules.access(person).allows(tool);
        assert!(may(None, "read"));
        assert!(!may(None, "delete"));
        assert!(
            !may(Some(&person("mallory", "admin mcp")), "read"),
            "logins have no case"
        );
        assert!(may(Some(&person("anna", "mcp admin")), "delete"));
        assert!(
            !may(Some(&person("anna", "admin")), "delete"),
            "all scopes are needed"
        );
        assert!(!may(Some(&person("anna", "administrator mcp")), "delete"));
        assert!(may(Some(&person("team-x", "")), "write"));
        assert!(!may(Some(&person("team-x", "")), "delete"));
        assert!(Rules::new(&tools(Some(&["a[b"]), &[]), &[]).is_err());
    }
}
