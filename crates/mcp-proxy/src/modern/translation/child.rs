//! An older MCP server that serves the modern requests of one person.
//!
//! A child is *shared* or *leased*. On stdio a log or a question of the server names no call, so only a leased child, which has
//! one call at a time, is told that its client can be asked, and only its logs go anywhere.
//!
//! Where a message of the child goes:
//!
//! 1. a response: to the request it answers;
//! 2. `notifications/progress`: to the request whose progress token it names;
//! 3. a question (elicitation, sampling, roots): becomes the answer `input_required` of the leased child's call, which stays
//!    parked in the child until the client comes back (see [`super::parked`]); a question of a shared child is refused, and so is
//!    the call if there is but one that it can belong to;
//! 4. `notifications/message`: to the leased child's call, if it asked for logs of that severity;
//! 5. what changed (lists, resources): to the person's listening requests that asked for it (see [`super::listening`]);
//! 6. everything else belongs to no request and is dropped.

pub mod conversation;
mod ending;
mod settling;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::children::Children;
use crate::doubt::Doubt;
use crate::jsonrpc::{code, error_response};
use crate::metrics::Calls;
use crate::modern::parameters::{Page, Schemas};
use crate::modern::schemas::{Cache, read_answer};
use crate::modern::translation::child::conversation::Conversation;
use crate::modern::translation::discovery::Greeting;
use crate::modern::translation::leases::{Leases, Subject};
use crate::modern::translation::listening::Listening;
use crate::modern::translation::parked::Parked;
use crate::modern::translation::profile::Profile;
use crate::modern::translation::questions::Question;
use crate::session::{Limits, Refused};
use crate::stdin::Stdin;

/// Questions that may wait for one client.
pub(super) const MAX_QUESTIONS: usize = 100;

/// What every child needs of those who made it.
#[derive(Clone, Debug)]
pub struct Home {
    /// All of them.
    pub leases: Weak<Leases>,
    /// The calls that wait for their client.
    pub parked: Arc<Parked>,
    /// Counts processes that end too soon.
    pub children: Children,
    /// The bounds of one child.
    pub limits: Limits,
    /// What became of calls is counted here.
    pub calls: Calls,
    /// How long the handshake may take.
    pub handshake: Duration,
}

/// An older child.
#[derive(Debug)]
pub struct Legacy {
    /// Its name in the log.
    pub span: tracing::Span,
    /// Whose it is.
    pub subject: Subject,
    /// What the child was told that its client can be asked for.
    pub profile: Profile,
    /// Does it serve one call at a time?
    pub exclusive: bool,
    pub(super) home: Home,
    pub(super) stdin: Arc<Stdin>,
    stop: CancellationToken,
    pub(super) greeting: OnceLock<Greeting>,
    schemas: Cache,
    pub(super) watched: Mutex<HashMap<Box<str>, usize>>,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) ended: Option<Arc<str>>,
    pub(super) last_number: u64,
    /// Requests of our own.
    pub(super) own: HashMap<u64, oneshot::Sender<Result<String, Arc<str>>>>,
    pub(super) calls: HashMap<u64, Conversation>,
    pub(super) listening: HashMap<u64, Listening>,
    /// Questions that came while there was no call: the next one has to answer them first.
    pub(super) early: Vec<Question>,
    /// A lease belongs to somebody until its call is over.
    claimed: bool,
    pub(super) last_used: Instant,
    pub(super) answered: bool,
    pub(super) doubt: Doubt,
}

impl Legacy {
    /// Around a child that was just started; a lease is claimed from the beginning.
    #[must_use]
    pub fn new(
        span: tracing::Span,
        subject: Subject,
        lease: Option<Profile>,
        home: Home,
        stdin: Arc<Stdin>,
        stop: CancellationToken,
    ) -> Self {
        let state = State {
            ended: None,
            last_number: 0,
            own: HashMap::new(),
            calls: HashMap::new(),
            listening: HashMap::new(),
            early: Vec::new(),
            claimed: true,
            last_used: Instant::now(),
            answered: false,
            doubt: Doubt::default(),
        };
        Self {
            span,
            subject,
            profile: lease.unwrap_or_default(),
            exclusive: lease.is_some(),
            home,
            stdin,
            stop,
            greeting: OnceLock::new(),
            schemas: Cache::default(),
            watched: Mutex::default(),
            state: Mutex::new(state),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it said of itself; `None` before the handshake.
    pub(super) fn greeting(&self) -> Option<&Greeting> {
        self.greeting.get()
    }

    pub(super) fn server(&self) -> &str {
        self.greeting().map_or("{}", |greeting| &greeting.server)
    }

    /// The answer to `server/discover`.
    #[must_use]
    pub fn discovered(&self, client_id: &str) -> Vec<u8> {
        self.greeting().map_or_else(
            || error_response(Some(client_id), code::INTERNAL_ERROR, "no handshake", None),
            |greeting| greeting.discovered(client_id),
        )
    }

    /// Does the child log at all?
    #[must_use]
    pub fn logs(&self) -> bool {
        self.greeting().is_some_and(|greeting| greeting.logging)
    }

    /// Takes the lease, if it is free.
    #[must_use]
    pub fn claim(&self) -> bool {
        let mut state = self.lock();
        let free = !state.claimed && state.ended.is_none() && self.greeting().is_some();
        state.claimed |= free;
        free
    }

    /// Gives back a lease that was not used.
    pub fn release(&self) {
        {
            let mut state = self.lock();
            state.claimed = false;
            state.last_used = Instant::now();
        }
        self.freed();
    }

    /// Has it ended, or is it about to?
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.lock().ended.is_some()
    }

    /// How many requests are in flight. Parked calls are not: nobody waits.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        let state = self.lock();
        let calls = state.calls.values();
        calls.filter(|call| call.waiting.is_some()).count() + state.listening.len()
    }

    /// How long nobody has used it; `None` while there is a call. Listening alone is no use.
    #[must_use]
    pub fn unused(&self, now: Instant) -> Option<Duration> {
        let state = self.lock();
        let free = state.calls.is_empty() && !(self.exclusive && state.claimed);
        free.then(|| now.duration_since(state.last_used))
    }

    /// The headers that the child's tools want (see [`Cache::get`]).
    pub async fn schemas(
        self: &Arc<Self>,
        tool: &str,
        life: Option<Duration>,
    ) -> Result<Arc<Schemas>, Refused> {
        self.schemas
            .get(tool, life, async |cursor| self.tools(cursor).await)
            .await
    }

    async fn tools(self: &Arc<Self>, cursor: Option<String>) -> Result<Option<Page>, Refused> {
        let params = cursor.map_or_else(
            || serde_json::json!({}),
            |cursor| serde_json::json!({ "cursor": cursor }),
        );
        let answer = self.ask("tools/list", &params).await;
        let answer = answer.map_err(Refused::Ended)?;
        Ok(read_answer(answer.as_bytes()))
    }
}
