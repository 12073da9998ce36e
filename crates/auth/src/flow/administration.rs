//! What the operator asks for. Whatever is ended here is forgotten by `/verify` before the answer.

use oauth::client::Client;
use oauth::id::ConsentId;
use oauth::key_ring::Rotation;
use oauth::operator::{OperatorClientName, OperatorRights};
use oauth::session::Revocation;
use oauth::{ClientId, SessionId, Subject};
use store::{Event, SessionFilter, StoreError};

use crate::admin::view::{
    ClientView, ConsentView, CreatedClient, KeyView, NewClient, Page, Purged, RotationView,
    SessionView, Stats, UserView,
};
use crate::app::AppState;
use crate::flow::remembered;
use crate::keys::KeyError;

/// How many records are looked at in one bite where all of them are.
const BITE: usize = 200;

/// Why it is not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    /// What was asked for cannot be.
    #[error("{0}")]
    Wrong(String),
    /// There is no such thing.
    #[error("there is no {0}")]
    Unknown(&'static str),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Keys(KeyError),
}

impl From<KeyError> for AdminError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Store(error) => Self::Store(error),
            other => Self::Keys(other),
        }
    }
}

pub(crate) async fn clients(
    state: &AppState,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<ClientView>, AdminError> {
    let now = state.clock.now();
    let (clients, next) = state.store.list_clients(after, limit, now).await?;
    let view = |client| ClientView::new(client, state.tokens.client_lifetime);
    let items = clients.iter().map(view).collect();
    Ok(Page { items, next })
}

pub(crate) async fn client(state: &AppState, id: &ClientId) -> Result<ClientView, AdminError> {
    let client = state.store.client(id, state.clock.now()).await?;
    let client = client.ok_or(AdminError::Unknown("client of this id"))?;
    Ok(ClientView::new(&client, state.tokens.client_lifetime))
}

/// Creates a client that works by itself (`client_credentials`). Its secret is told once.
pub(crate) async fn create_client(
    state: &AppState,
    new: &NewClient,
) -> Result<CreatedClient, AdminError> {
    let wrong = |error: &dyn std::fmt::Display| AdminError::Wrong(error.to_string());
    let name = OperatorClientName::parse(&new.name).map_err(|error| wrong(&error))?;
    let services = |names: &[String]| {
        let known = names.iter().map(|name| {
            let service = state.sites().service(name).cloned();
            service
                .ok_or_else(|| AdminError::Wrong(format!("{name:?} is no service of this gateway")))
        });
        known.collect::<Result<_, _>>()
    };
    let rights = OperatorRights {
        services: services(&new.services)?,
        introspects: services(&new.introspects)?,
    };
    if rights == OperatorRights::default() {
        return Err(AdminError::Wrong(
            "a client needs a service that it may use, or whose tokens it may ask about".to_owned(),
        ));
    }
    let now = state.clock.now();
    let (client, secret) = Client::of_operator(&name, rights, now, state.entropy.as_ref());
    let id = client.id.clone();
    let is_configured = state.policy.rules().operator_client(&id).is_some();
    if is_configured || !state.store.create_operator_client(client, now).await? {
        return Err(AdminError::Wrong(format!(
            "there is a client of the name {id} already: delete it first, or choose another name"
        )));
    }
    tracing::info!(target: "audit", event = "client_created", client = %id, by = "operator", "operator's client created");
    Ok(CreatedClient {
        client_id: id.to_string(),
        client_secret: secret.expose().to_owned(),
    })
}

pub(crate) async fn delete_client(state: &AppState, id: &ClientId) -> Result<(), AdminError> {
    let was_there = state.store.delete_client(id, state.clock.now()).await?;
    state.decisions.learn(Event::ClientChanged(id.to_string()));
    if !was_there {
        return Err(AdminError::Unknown("client of this id"));
    }
    tracing::info!(target: "audit", event = "client_deleted", client = %id, by = "operator", "client deleted");
    Ok(())
}

pub(crate) async fn sessions(
    state: &AppState,
    filter: &SessionFilter,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<SessionView>, AdminError> {
    let now = state.clock.now();
    let listed = state.store.list_sessions(filter, after, limit, now).await?;
    let items = listed.0.iter().map(SessionView::new).collect();
    Ok(Page {
        items,
        next: listed.1,
    })
}

pub(crate) async fn session(state: &AppState, id: &SessionId) -> Result<SessionView, AdminError> {
    let listed = state.store.show_session(id, state.clock.now()).await?;
    let listed = listed.ok_or(AdminError::Unknown("session of this id"))?;
    Ok(SessionView::new(&listed))
}

pub(crate) async fn revoke_session(state: &AppState, id: &SessionId) -> Result<(), AdminError> {
    let (now, lifetime) = (
        state.clock.now(),
        state.policy.rules().longest_access_token(),
    );
    let why = Revocation::Requested;
    let was_there = state.store.revoke_session(id, why, lifetime, now).await?;
    state.decisions.learn(Event::SessionChanged(id.to_string()));
    if !was_there {
        return Err(AdminError::Unknown("session of this id"));
    }
    tracing::info!(target: "audit", event = "session_revoked", session = %id, by = "operator", "session revoked");
    Ok(())
}

pub(crate) async fn users(
    state: &AppState,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<UserView>, AdminError> {
    let now = state.clock.now();
    let (people, next) = state.store.list_people(after, limit, now).await?;
    let items = people.iter().map(|person| UserView::new(person, None));
    let items = items.collect();
    Ok(Page { items, next })
}

pub(crate) async fn user(state: &AppState, subject: &Subject) -> Result<UserView, AdminError> {
    let now = state.clock.now();
    let person = state.store.person(subject, now).await?;
    let person = person.ok_or(AdminError::Unknown("person of this subject"))?;
    let pins = state.store.pins_of(subject, now).await?;
    Ok(UserView::new(&person, Some(pins)))
}

/// Voids every session of a person.
pub(crate) async fn revoke_user(state: &AppState, subject: &Subject) -> Result<(), AdminError> {
    let was_there = state
        .store
        .revoke_person(subject, state.clock.now())
        .await?;
    state
        .decisions
        .learn(Event::PersonChanged(subject.to_string()));
    if !was_there {
        return Err(AdminError::Unknown("person of this subject"));
    }
    tracing::info!(target: "audit", event = "person_revoked", subject = %subject, by = "operator", "all sessions of a person revoked");
    Ok(())
}

/// Voids every session of everybody.
pub(crate) async fn revoke_everybody(state: &AppState) -> Result<Vec<String>, AdminError> {
    let now = state.clock.now();
    let mut ended = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let (people, next) = state.store.list_people(after.as_deref(), BITE, now).await?;
        for person in people {
            revoke_user(state, &person.subject).await?;
            ended.push(person.subject.to_string());
        }
        after = next;
        if after.is_none() {
            return Ok(ended);
        }
    }
}

/// Frees the names on the allow-list that belong to a person.
pub(crate) async fn forget_pins(
    state: &AppState,
    subject: &Subject,
) -> Result<Vec<String>, AdminError> {
    let freed = state.store.forget_pins(subject, state.clock.now()).await?;
    for name in &freed {
        tracing::info!(target: "audit", event = "pin_forgotten", subject = %subject, %name, by = "operator",
            "a name on the allow-list belongs to nobody now");
    }
    Ok(freed)
}

/// What a person wanted remembered and what counts.
pub(crate) async fn consents(
    state: &AppState,
    subject: &Subject,
) -> Result<Page<ConsentView>, AdminError> {
    let consents = remembered::list(state, subject).await?;
    Ok(Page {
        items: consents.iter().map(ConsentView::new).collect(),
        next: None,
    })
}

/// Forgets what a person wanted remembered: they are asked again. One of it, or all.
pub(crate) async fn forget_consents(
    state: &AppState,
    subject: &Subject,
    id: Option<&ConsentId>,
) -> Result<Vec<String>, AdminError> {
    let Some(id) = id else {
        let withdrawn = remembered::withdraw_all(state, subject, None).await?;
        return Ok(withdrawn.iter().map(ToString::to_string).collect());
    };
    if remembered::withdraw(state, subject, id).await? {
        Ok(vec![id.to_string()])
    } else {
        Err(AdminError::Unknown("remembered consent of this id"))
    }
}

pub(crate) fn keys(state: &AppState) -> Page<KeyView> {
    Page {
        items: state.keys.infos().iter().map(KeyView::new).collect(),
        next: None,
    }
}

pub(crate) async fn rotate_keys(state: &AppState) -> Result<RotationView, AdminError> {
    let (kid, signs_from, was_under_way) = match state.keys.rotate().await? {
        Rotation::Begun(kid, from) => (kid, from, false),
        Rotation::UnderWay(kid, from) => (kid, from, true),
    };
    tracing::info!(target: "audit", event = "key_rotation", %kid, %signs_from, by = "operator", "key rotation asked for");
    Ok(RotationView {
        kid: kid.to_string(),
        signs_from,
        was_under_way,
    })
}

/// Every access token dies; refresh tokens live.
pub(crate) async fn replace_keys(state: &AppState) -> Result<RotationView, AdminError> {
    let kid = state.keys.replace().await?;
    state.decisions.learn(Event::KeysChanged);
    tracing::warn!(target: "audit", event = "keys_compromised", %kid, by = "operator",
        "all signing keys are replaced; every access token is void");
    Ok(RotationView {
        kid: kid.to_string(),
        signs_from: state.clock.now(),
        was_under_way: false,
    })
}

/// Looks at every session.
pub(crate) async fn stats(state: &AppState) -> Result<Stats, AdminError> {
    let totals = state.store.totals(state.clock.now()).await?;
    let mut counted = Stats {
        clients: totals.clients,
        sessions: totals.sessions,
        users: totals.people,
        sessions_by_state: std::collections::BTreeMap::new(),
        active_by_service: std::collections::BTreeMap::new(),
    };
    let mut after: Option<String> = None;
    loop {
        let page = sessions(state, &SessionFilter::All, after.as_deref(), BITE).await?;
        for session in page.items {
            if session.state == "active" {
                *counted
                    .active_by_service
                    .entry(session.service)
                    .or_default() += 1;
            }
            *counted.sessions_by_state.entry(session.state).or_default() += 1;
        }
        after = page.next;
        if after.is_none() {
            return Ok(counted);
        }
    }
}

/// Removes sessions of which nothing comes any more, and what has expired.
pub(crate) async fn purge(state: &AppState, dry_run: bool) -> Result<Purged, AdminError> {
    let now = state.clock.now();
    let mut purged = Purged {
        dry_run,
        ..Purged::default()
    };
    let mut after: Option<String> = None;
    loop {
        let page = sessions(state, &SessionFilter::All, after.as_deref(), BITE).await?;
        for session in page.items {
            let is_dead = session.state == "revoked" || session.state == "void";
            let Ok(id) = SessionId::parse(&session.id) else {
                continue;
            };
            let is_counted = if dry_run {
                is_dead
            } else {
                is_dead && state.store.remove_dead_session(&id, now).await?
            };
            purged.sessions += u64::from(is_counted);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if !dry_run {
        loop {
            let removed = state.store.backend().sweep(now, BITE).await?;
            purged.expired += removed as u64;
            if removed < BITE {
                break;
            }
        }
        tracing::info!(target: "audit", event = "purged", sessions = purged.sessions, expired = purged.expired,
            by = "operator", "purged");
    }
    Ok(purged)
}
