//! Whether somebody whom an identity provider has recognised may use a service.

use std::collections::BTreeSet;

use oauth::identity::Identity;
use oauth::session::Person;
use oauth::{ServiceName, Subject, Timestamp};
use store::{Pinned, StoreError};

use crate::app::AppState;

/// The person, as sessions remember them; `None` if they may not use the service.
pub(crate) async fn admit(
    state: &AppState,
    identity: &Identity,
    service: &ServiceName,
    now: Timestamp,
) -> Result<Option<Person>, StoreError> {
    let person = recognise(state, identity, now).await?;
    if !state.policy.rules().admits(&person, service) {
        return Ok(None);
    }
    // After that: who may not come in must not take anybody's name.
    if identity.login_is_chosen && !login_is_theirs(state, identity, now).await? {
        return Ok(None);
    }
    Ok(Some(person))
}

/// Whether somebody who was let in at that instant still may use the service: the lists as they are now know them, and what
/// they granted then was not ended.
pub(crate) async fn is_still_welcome(
    state: &AppState,
    person: &Person,
    service: &ServiceName,
    since: Timestamp,
    now: Timestamp,
) -> Result<bool, StoreError> {
    if !state.policy.rules().admits(person, service) {
        return Ok(false);
    }
    state.store.person_admits(&person.subject, since, now).await
}

/// The person with what of the lists is theirs.
///
/// Each entry of a list belongs to the first who came with it: a person's name to that person, an organisation's name to that
/// organisation. An entry that has become somebody else's does not count.
pub(crate) async fn recognise(
    state: &AppState,
    identity: &Identity,
    now: Timestamp,
) -> Result<Person, StoreError> {
    let (listed_names, listed_memberships) = {
        let rules = state.policy.rules();
        (
            rules.listed_names(identity),
            rules.listed_memberships(identity),
        )
    };
    let mut names = BTreeSet::new();
    for name in listed_names {
        if is_theirs(state, &name, &identity.subject, identity, now).await? {
            names.insert(name);
        }
    }
    let mut memberships = BTreeSet::new();
    for (name, owner) in listed_memberships {
        let counts = match &owner {
            Some(owner) => is_theirs(state, &name, owner, identity, now).await?,
            None => true,
        };
        if counts {
            memberships.insert(name);
        }
    }
    Ok(Person {
        subject: identity.subject.clone(),
        login: identity.login.clone(),
        names,
        memberships,
    })
}

/// A login stands for a person in the rules about tools and in what services are told. One that people choose belongs to the
/// first who came with it, whatever its case.
async fn login_is_theirs(
    state: &AppState,
    identity: &Identity,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let entry = format!("login:{}", identity.login.to_lowercase());
    is_theirs(state, &entry, &identity.subject, identity, now).await
}

async fn is_theirs(
    state: &AppState,
    entry: &str,
    owner: &Subject,
    identity: &Identity,
    now: Timestamp,
) -> Result<bool, StoreError> {
    match state.store.pin(entry, owner, now).await? {
        Pinned::ToThem => Ok(true),
        Pinned::ToAnother(other) => {
            tracing::warn!(target: "audit", event = "name_taken_over", entry, subject = %identity.subject, before = %other,
                now = %owner, "the name belongs to somebody else already and does not count; mcp-auth users forget-pin frees the names of a person");
            Ok(false)
        }
    }
}
