//! `{user.id}` and `{user.login}` in the arguments and the environment of an MCP server, so that one service can keep
//! people's data apart: `--directory /data/{user.id}`.
//!
//! What is put there is encoded, because a login may be anything that an identity provider lets people choose: letters,
//! digits, `_`, and `-` and `.` where they are not first stand as they are, every other byte becomes `%` and two
//! hexadecimal digits. So a value is always one component of a path (never `..`, never hidden), never begins an option,
//! and two people never get the same one: `github|583231` becomes `github%7C583231`.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::identity::Identity;

/// What every placeholder begins with.
const MARK: &str = "{user.";
/// What stands where a process belongs to nobody. No person can have it: it is no encoding of anything.
const NOBODY: &str = "%nobody";
/// Everything but letters, digits, `-`, `_` and `.`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// A text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Id,
    Login,
}

/// The text has a placeholder that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("has an unknown placeholder at `{0}`: there are {{user.id}} and {{user.login}}")]
pub struct UnknownPlaceholder(String);

impl Template {
    /// Reads a text. Braces that do not begin with `{user.` are text.
    pub fn parse(text: &str) -> Result<Self, UnknownPlaceholder> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(MARK) {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let known = [("id}", Part::Id), ("login}", Part::Login)]
                .into_iter()
                .find_map(|(name, part)| Some((part, after.strip_prefix(name)?)));
            let Some((part, after)) = known else {
                let shown: String = after.chars().take(16).collect();
                return Err(UnknownPlaceholder(format!("{MARK}{shown}")));
            };
            parts.push(part);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// A text without placeholders, whatever stands in it.
    #[must_use]
    pub fn verbatim(text: &str) -> Self {
        Self(vec![Part::Text(text.to_owned())])
    }

    /// Does the text depend on the person?
    #[must_use]
    pub fn names_person(&self) -> bool {
        self.0.iter().any(|part| !matches!(part, Part::Text(_)))
    }

    /// The text for one person; `None` stands for a process that belongs to nobody.
    #[must_use]
    pub fn render(&self, person: Option<&Identity>) -> String {
        let mut out = String::new();
        for part in &self.0 {
            match (part, person) {
                (Part::Text(text), _) => out.push_str(text),
                (Part::Id, Some(person)) => encode(&person.owner.subject, &mut out),
                (Part::Login, Some(person)) => encode(&person.login, &mut out),
                (Part::Id | Part::Login, None) => out.push_str(NOBODY),
            }
        }
        out
    }
}

/// Appends a value in the encoding of this module.
fn encode(value: &str, out: &mut String) {
    let rest = match value.as_bytes().first() {
        Some(first @ (b'-' | b'.')) => {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{first:02X}");
            value.get(1..).unwrap_or_default()
        }
        _ => value,
    };
    out.extend(utf8_percent_encode(rest, ENCODED));
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use super::*;
    use crate::identity::Owner;

    fn person(id: &str, login: &str) -> Identity {
        Identity {
            owner: Owner {
                subject: id.into(),
                client: "client".into(),
            },
            login: login.into(),
            scope: "".into(),
        }
    }

    #[test]
    fn placeholders_are_replaced_and_other_braces_stay() {
        let template = Template::parse("--data=/d/{user.id}/{user.login} {\"a\":{}}").unwrap();
        assert!(template.names_person());
        assert_eq!(
            template.render(Some(&person("github|583231", "octo-cat"))),
            "--data=/d/github%7C583231/octo-cat {\"a\":{}}"
        );
        assert_eq!(
            template.render(None),
            "--data=/d/%nobody/%nobody {\"a\":{}}"
        );
        assert!(!Template::parse("{user}").unwrap().names_person());
        for wrong in ["{user.email}", "{user.id", "x{user.}", "{user.ID}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_leads_elsewhere_in_a_path_or_a_command_line_is_encoded() {
        let template = Template::parse("{user.login}").unwrap();
        for (login, wanted) in [
            ("..", "%2E."),
            (".hidden", "%2Ehidden"),
            ("-rf", "%2Drf"),
            ("../../etc", "%2E.%2F..%2Fetc"),
            ("anna.b@example.com", "anna.b%40example.com"),
            ("a\\b\0c\nd", "a%5Cb%00c%0Ad"),
            ("%2E", "%252E"),
            ("é", "%C3%A9"),
        ] {
            assert_eq!(template.render(Some(&person("1", login))), wanted);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_login_is_one_plain_component_of_a_path_and_can_be_told_from_any_other(one in ".{1,40}", other in ".{1,40}") {
            let template = Template::parse("{user.login}").unwrap();
            let render = |login: &str| template.render(Some(&person("1", login)));
            let value = render(&one);
            let components: Vec<_> = Path::new(&value).components().collect();
            proptest::prop_assert!(matches!(components.as_slice(), [Component::Normal(_)]));
            proptest::prop_assert!(!value.starts_with(['-', '.']));
            proptest::prop_assert_ne!(&value, NOBODY);
            proptest::prop_assert_eq!(one == other, value == render(&other));
        }
    }
}
