//! What the administration API answers, as the command line reads it: JSON, times as RFC 3339, no secrets but that of a client
//! that was just created.

use std::collections::{BTreeMap, BTreeSet};

use oauth::client::Client;
use oauth::consent::Consent;
use oauth::key_ring::KeyState;
use oauth::operator::OperatorRights;
use oauth::session::SessionState;
use oauth::{ServiceName, Timestamp};
use serde::{Deserialize, Serialize};
use store::{ListedSession, PersonRecord};

use crate::keys::KeyInfo;

/// A page of a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// Where to go on (`after`); absent when that was all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) next: Option<String>,
}

/// A client.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ClientView {
    pub(crate) client_id: String,
    pub(crate) client_name: String,
    /// `registered`, `document`, or `operator`.
    pub(crate) kind: String,
    /// Whether it must show a secret.
    pub(crate) has_secret: bool,
    pub(crate) redirect_uris: Vec<String>,
    pub(crate) scope: String,
    pub(crate) registered_at: Timestamp,
    pub(crate) last_used_at: Option<Timestamp>,
    /// When it ends if it is not used; `null` = never.
    pub(crate) expires_at: Option<Timestamp>,
    /// The services for which an operator's client gets tokens of its own.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(crate) services: Vec<String>,
    /// The services whose tokens it may ask about.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(crate) introspects: Vec<String>,
}

/// An operator's client that is to be created.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewClient {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) services: Vec<String>,
    #[serde(default)]
    pub(crate) introspects: Vec<String>,
}

/// A client that was just created, with its secret, which is shown this once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CreatedClient {
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
}

impl ClientView {
    pub(crate) fn new(client: &Client, lifetime: u64) -> Self {
        let kind = match (&client.operator, &client.registration_token) {
            (Some(_), _) => "operator",
            (None, Some(_)) => "registered",
            (None, None) => "document",
        };
        let redirects = client.metadata.redirect_uris.iter();
        Self {
            client_id: client.id.to_string(),
            client_name: client.metadata.client_name.clone(),
            kind: kind.to_owned(),
            has_secret: client.secret.is_some(),
            redirect_uris: redirects.map(|uri| uri.as_str().to_owned()).collect(),
            scope: client.metadata.scope.to_string(),
            registered_at: client.issued_at,
            last_used_at: client.last_used_at,
            expires_at: client.expires_at(lifetime),
            services: names(client, |rights| &rights.services),
            introspects: names(client, |rights| &rights.introspects),
        }
    }
}

fn names(client: &Client, which: fn(&OperatorRights) -> &BTreeSet<ServiceName>) -> Vec<String> {
    let rights = client.operator.as_ref().map(which);
    let names = rights.into_iter().flatten();
    names.map(ToString::to_string).collect()
}

/// A session: one grant of one person to one client for one service.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SessionView {
    pub(crate) id: String,
    pub(crate) subject: String,
    pub(crate) login: String,
    pub(crate) client_id: String,
    pub(crate) service: String,
    pub(crate) scope: String,
    /// `code issued`, `active`, `revoked`, or `void` when its client or its person ended it.
    pub(crate) state: String,
    /// Why it was revoked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) reason: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) last_used_at: Option<Timestamp>,
    pub(crate) ends_at: Option<Timestamp>,
}

impl SessionView {
    pub(crate) fn new(listed: &ListedSession) -> Self {
        let session = &listed.session;
        let (state, reason) = match session.state() {
            SessionState::Active if listed.counts => ("active", None),
            SessionState::Active => ("void", None),
            SessionState::CodeIssued => ("code issued", None),
            SessionState::Revoked { why, .. } => ("revoked", Some(why)),
        };
        let reason = reason.and_then(|why| {
            let text = serde_json::to_value(why).ok()?;
            Some(text.as_str()?.replace('_', " "))
        });
        Self {
            id: session.id.to_string(),
            subject: session.person.subject.to_string(),
            login: session.person.login.clone(),
            client_id: session.client_id.to_string(),
            service: session.service.to_string(),
            scope: session.scope.to_string(),
            state: state.to_owned(),
            reason,
            created_at: session.created_at,
            last_used_at: session.last_used_at(),
            ends_at: session.ends_at(),
        }
    }
}

/// A person.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct UserView {
    pub(crate) subject: String,
    pub(crate) login: String,
    pub(crate) first_seen_at: Timestamp,
    /// Sessions up to this instant were revoked all together.
    pub(crate) revoked_up_to: Option<Timestamp>,
    /// The names on the allow-list that belong to them. Only where one person is shown.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) pinned_names: Option<Vec<String>>,
}

impl UserView {
    pub(crate) fn new(person: &PersonRecord, pins: Option<Vec<String>>) -> Self {
        Self {
            subject: person.subject.to_string(),
            login: person.login.clone(),
            first_seen_at: person.first_seen_at,
            revoked_up_to: person.sessions_count_from,
            pinned_names: pins,
        }
    }
}

/// A consent that a person wanted remembered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ConsentView {
    pub(crate) id: String,
    pub(crate) client_id: String,
    pub(crate) service: String,
    pub(crate) scope: String,
    pub(crate) redirect_uri: String,
    pub(crate) given_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

impl ConsentView {
    pub(crate) fn new(consent: &Consent) -> Self {
        Self {
            id: consent.id.to_string(),
            client_id: consent.client_id.to_string(),
            service: consent.service.to_string(),
            scope: consent.scope.to_string(),
            redirect_uri: consent.redirect_uri.as_str().to_owned(),
            given_at: consent.given_at,
            expires_at: consent.expires_at,
        }
    }
}

/// A signing key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeyView {
    pub(crate) kid: String,
    pub(crate) algorithm: String,
    pub(crate) state: KeyState,
    pub(crate) created_at: Timestamp,
    pub(crate) signs_from: Timestamp,
    /// When a retired key goes.
    pub(crate) kept_until: Option<Timestamp>,
}

impl KeyView {
    pub(crate) fn new(info: &KeyInfo) -> Self {
        Self {
            kid: info.key.id.to_string(),
            algorithm: info.key.algorithm.to_string(),
            state: info.state,
            created_at: info.key.created_at,
            signs_from: info.key.signs_from,
            kept_until: info.kept_until,
        }
    }
}

/// What a rotation did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RotationView {
    pub(crate) kid: String,
    pub(crate) signs_from: Timestamp,
    /// Whether it was on its way already.
    pub(crate) was_under_way: bool,
}

/// How many there are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stats {
    pub(crate) clients: u64,
    pub(crate) sessions: u64,
    pub(crate) users: u64,
    /// The sessions by their state.
    pub(crate) sessions_by_state: BTreeMap<String, u64>,
    /// Active sessions by service.
    pub(crate) active_by_service: BTreeMap<String, u64>,
}

/// What is thrown away, or would be.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Purged {
    /// Only counted.
    pub(crate) dry_run: bool,
    /// Sessions that are revoked, or whose client or person is gone.
    pub(crate) sessions: u64,
    /// Expired records that the store had not removed by itself. Not counted in a dry run.
    pub(crate) expired: u64,
}

/// How many things an action ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// What was ended: ids, subjects or names.
    pub(crate) ended: Vec<String>,
}
