//! From claims to a person: who they are for ever, the name to show, and what of the lists may be theirs.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oauth::Subject;
use oauth::identity::{Identity, SUBJECT_ENTRY};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::idp::ProviderError;

/// The claim of which the specification says that nobody may rely on it (OpenID Connect Core section 5.7).
const CHOSEN: &str = "preferred_username";
/// Most groups that are looked at.
const MOST_GROUPS: usize = 1000;
/// Longest group name, in bytes.
const LONGEST_GROUP: usize = 256;
/// Longest login and longest subject that stand as they are, in bytes.
const LONGEST_NAME: usize = 100;
/// Longest address (RFC 5321 section 4.5.3.1).
const LONGEST_ADDRESS: usize = 254;

/// Which claims are looked for.
pub(super) struct Wanted<'a> {
    pub(super) login: &'a str,
    /// If memberships count.
    pub(super) groups: Option<&'a str>,
    /// If the provider was asked for the e-mail address.
    pub(super) email: bool,
}

impl Wanted<'_> {
    /// Whether the provider must be asked for more than it said in the ID token.
    pub(super) fn is_missing_in(&self, claims: &Map<String, Value>) -> bool {
        let names = [Some(self.login), self.groups, self.email.then_some("email")];
        names
            .into_iter()
            .flatten()
            .any(|name| !claims.contains_key(name))
    }
}

/// Adds what userinfo says. What was signed counts before it, and it must be about the same person (OpenID Connect Core section
/// 5.3.2).
pub(super) fn complete(
    claims: &mut Map<String, Value>,
    more: Map<String, Value>,
) -> Result<(), ProviderError> {
    if more.get("sub").and_then(Value::as_str) != subject(claims) {
        return Err(ProviderError::Unexpected(
            "userinfo about somebody else".to_owned(),
        ));
    }
    // An address and the word that it was verified belong together.
    let has_email = claims.contains_key("email");
    for (name, value) in more {
        if name == "email_verified" && has_email {
            continue;
        }
        claims.entry(name).or_insert(value);
    }
    Ok(())
}

/// The person.
pub(super) fn identity(
    issuer: &str,
    claims: &Map<String, Value>,
    wanted: &Wanted<'_>,
) -> Result<Identity, ProviderError> {
    let sub =
        subject(claims).ok_or_else(|| ProviderError::Unexpected("no subject (sub)".to_owned()))?;
    let subject = pinned(issuer, sub)?;
    let email = verified_email(claims);
    let said = match wanted.login {
        "email" => email,
        claim => claims.get(claim).and_then(Value::as_str),
    };
    let login = said.filter(|name| is_name(name));
    let mut names = BTreeSet::from([format!("{SUBJECT_ENTRY}{sub}")]);
    names.extend(email.map(str::to_owned));
    names.extend(
        login
            .filter(|name| is_listable(name, wanted.login))
            .map(str::to_owned),
    );
    let shown = login
        .or(email.filter(|address| is_name(address)))
        .or(Some(sub).filter(|sub| is_name(sub)))
        .map_or_else(|| subject.to_string(), str::to_owned);
    Ok(Identity {
        names,
        memberships: wanted
            .groups
            .map_or_else(BTreeMap::new, |claim| groups(claims, claim)),
        login_is_chosen: true,
        ..Identity::named(subject, &shown)
    })
}

fn subject(claims: &Map<String, Value>) -> Option<&str> {
    let sub = claims.get("sub").and_then(Value::as_str)?;
    (!sub.is_empty() && sub.len() <= 255).then_some(sub)
}

/// `oidc:ISSUER:SUB`: only both together are somebody for ever (OpenID Connect Core section 5.7), so that nobody inherits
/// anything when the installation changes its provider. The issuer stands there as the beginning of its hash.
fn pinned(issuer: &str, sub: &str) -> Result<Subject, ProviderError> {
    let hash = Sha256::digest(issuer.as_bytes());
    let (tag, _) = hash.split_at(8);
    let tag = URL_SAFE_NO_PAD.encode(tag);
    let id = if is_name(sub) {
        sub.to_owned()
    } else {
        // Too long, or with a space: RFC 7519 allows both.
        format!("sha256.{}", URL_SAFE_NO_PAD.encode(Sha256::digest(sub)))
    };
    Subject::parse(&format!("oidc:{tag}:{id}"))
        .map_err(|error| ProviderError::Unexpected(error.to_string()))
}

/// Whether it can stand in a header and in a line of a log.
fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Whether a login may stand for somebody on the list. It must not look like what is vouched for in another way: a subject, or,
/// where people may choose it themselves, an address.
fn is_listable(login: &str, claim: &str) -> bool {
    let is_address = claim == CHOSEN && login.contains('@');
    !login.starts_with(SUBJECT_ENTRY) && login != "*" && !is_address
}

/// The address, if the provider says that it is theirs.
fn verified_email(claims: &Map<String, Value>) -> Option<&str> {
    let is_verified = match claims.get("email_verified") {
        Some(Value::Bool(said)) => *said,
        // Some providers write it so.
        Some(Value::String(said)) => said == "true",
        _ => false,
    };
    let address = claims.get("email").and_then(Value::as_str)?;
    let is_address = address.len() <= LONGEST_ADDRESS
        && address.matches('@').count() == 1
        && !address.starts_with('@')
        && !address.ends_with('@')
        && !address.chars().any(|c| c.is_whitespace() || c.is_control());
    (is_verified && is_address).then_some(address)
}

/// A list, or one text.
fn groups(claims: &Map<String, Value>, claim: &str) -> BTreeMap<String, Option<Subject>> {
    let listed: Vec<&str> = match claims.get(claim) {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(one)) => vec![one],
        _ => Vec::new(),
    };
    listed
        .into_iter()
        .filter(|name| !name.is_empty() && name.len() <= LONGEST_GROUP)
        .take(MOST_GROUPS)
        .map(|name| (name.to_owned(), None))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://id.example.com";

    fn person(claims: &Value, login: &str, groups: Option<&str>) -> Identity {
        let wanted = Wanted {
            login,
            groups,
            email: true,
        };
        identity(ISSUER, claims.as_object().unwrap(), &wanted).unwrap()
    }

    fn names(claims: &Value, login: &str) -> Vec<String> {
        person(claims, login, None).names.into_iter().collect()
    }

    #[test]
    fn a_name_that_people_choose_is_no_address_and_no_subject() {
        for (chosen, expected) in [
            ("ann", vec!["ann", "sub:1"]),
            ("boss@example.com", vec!["sub:1"]),
            ("sub:2", vec!["sub:1"]),
            ("*", vec!["sub:1"]),
            ("an n", vec!["sub:1"]),
        ] {
            let claims = json!({"sub": "1", "preferred_username": chosen});
            assert_eq!(names(&claims, "preferred_username"), expected, "{chosen}");
        }
        // A claim that the operator chose for it is vouched for.
        let claims = json!({"sub": "1", "upn": "ann@example.com"});
        assert_eq!(names(&claims, "upn"), ["ann@example.com", "sub:1"]);
    }

    #[test]
    fn an_address_counts_only_when_the_provider_says_that_it_was_verified() {
        for (verified, counts) in [
            (json!(true), true),
            (json!("true"), true),
            (json!(false), false),
            (json!("false"), false),
            (json!(1), false),
            (Value::Null, false),
        ] {
            let claims = json!({"sub": "1", "email": "a@example.com", "email_verified": verified});
            let person = person(&claims, "email", None);
            assert_eq!(person.names.contains("a@example.com"), counts, "{claims}");
            assert_eq!(person.login, if counts { "a@example.com" } else { "1" });
        }
        for address in [
            "a@b@example.com",
            "@example.com",
            "a@",
            "a b@example.com",
            "a",
        ] {
            let claims = json!({"sub": "1", "email": address, "email_verified": true});
            assert_eq!(names(&claims, "email"), ["sub:1"], "{address}");
        }
    }

    #[test]
    fn the_same_subject_of_another_issuer_is_somebody_else() {
        let claims = json!({"sub": "1"});
        let wanted = Wanted {
            login: "email",
            groups: None,
            email: false,
        };
        let here = person(&claims, "email", None).subject;
        let there = identity(
            "https://other.example",
            claims.as_object().unwrap(),
            &wanted,
        );
        assert_ne!(here, there.unwrap().subject);
        assert!(here.as_str().ends_with(":1"), "{here}");
        let long = "x".repeat(255);
        let hashed = person(&json!({"sub": long}), "email", None).subject;
        assert!(hashed.as_str().contains(":sha256."), "{hashed}");
        for none in [
            json!({}),
            json!({"sub": ""}),
            json!({"sub": 1}),
            json!({"sub": "x".repeat(256)}),
        ] {
            assert!(
                identity(ISSUER, none.as_object().unwrap(), &wanted).is_err(),
                "{none}"
            );
        }
    }

    #[test]
    fn what_was_signed_counts_before_userinfo() {
        let mut claims = json!({"sub": "1", "email": "mine@example.com", "groups": ["a"]});
        let more = json!({"sub": "1", "email_verified": true, "groups": ["b"], "name": "Ann"});
        let claims = claims.as_object_mut().unwrap();
        complete(claims, more.as_object().unwrap().clone()).unwrap();
        assert_eq!(claims["groups"], json!(["a"]));
        assert_eq!(claims["name"], "Ann");
        assert!(!claims.contains_key("email_verified"));
        let other = json!({"sub": "2"});
        assert!(complete(claims, other.as_object().unwrap().clone()).is_err());
    }

    #[test]
    fn groups_are_a_list_or_one_name() {
        let of = |value: Value| -> Vec<String> {
            let person = person(&json!({"sub": "1", "g": value}), "email", Some("g"));
            person.memberships.into_keys().collect()
        };
        assert_eq!(of(json!(["/b", "a", "", 5])), ["/b", "a"]);
        assert_eq!(of(json!("a")), ["a"]);
        assert!(of(json!({"a": true})).is_empty());
    }
}
