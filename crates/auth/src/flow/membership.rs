//! Who came in only as a member of an organisation, team or group: such a session lasts as long as the membership is known.
//!
//! Identity providers do not tell when somebody leaves, and their tokens are not kept. So a membership that was confirmed
//! counts for `MEMBERSHIP_LIFETIME`. With `GITHUB_ORG_TOKEN` GitHub is asked again when a client refreshes.

use oauth::Timestamp;
use oauth::session::Session;
use store::StoreError;

use crate::app::AppState;

/// A membership that was confirmed so recently is not asked about again, in seconds.
const RECENT: i64 = 300;

/// What is known of a person's membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It counts.
    Confirmed,
    /// It was confirmed too long ago: the person signs in again.
    Unconfirmed,
    /// The provider says that they have left.
    Left,
    /// It was confirmed too long ago and the provider, which could tell, does not answer.
    Unknown,
}

/// When the memberships behind a session must be confirmed again; `None` if it does not rest on any.
pub(crate) fn ends_at(state: &AppState, session: &Session) -> Option<Timestamp> {
    state
        .policy
        .rules()
        .rests_on_membership(&session.person, &session.service)
        .then(|| oauth::after(session.confirmed_at(), state.people.membership_lifetime))
}

/// Looks whether the membership behind a session still counts, and asks GitHub if that can be done. Takes two seconds at
/// most.
pub(crate) async fn standing(
    state: &AppState,
    session: &Session,
    now: Timestamp,
) -> Result<Standing, StoreError> {
    let Some(end) = ends_at(state, session) else {
        return Ok(Standing::Confirmed);
    };
    let Some(directory) = &state.directory else {
        return Ok(if now < end {
            Standing::Confirmed
        } else {
            Standing::Unconfirmed
        });
    };
    if now.duration_since(session.confirmed_at()).as_secs() < RECENT {
        return Ok(Standing::Confirmed);
    }
    let person = &session.person;
    match directory
        .is_member(&person.subject, &person.memberships)
        .await
    {
        Ok(true) => {
            let lifetime = state.policy.rules().longest_access_token();
            state
                .store
                .confirm_membership(&session.id, lifetime, now)
                .await?;
            Ok(Standing::Confirmed)
        }
        Ok(false) => Ok(Standing::Left),
        Err(error) => {
            tracing::warn!(%error, "GitHub cannot be asked about a membership");
            Ok(if now < end {
                Standing::Confirmed
            } else {
                Standing::Unknown
            })
        }
    }
}
