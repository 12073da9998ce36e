//! One child shared by several sessions of the older revisions: those of one person, or everybody's.
//!
//! Each session has a lane: its requests have numbers of its own inside the child (the lane's number in the upper 32 bits),
//! so what comes back is told apart by its number. The handshake is ours: the first session's `initialize` goes to the child
//! once, and every session that asks for the same revision with the same capabilities gets that answer.
//!
//! Where a message of the child goes:
//!
//! 1. a response, progress: to the session whose number it names;
//! 2. lists that changed: to every session; what else belongs to no call (resources and tasks that changed): to every
//!    session of the one person, and to nobody where persons share;
//! 3. `ping`: answered here;
//! 4. everything else, requests and logs above all, names no call on stdio: to the one session with calls in flight. With
//!    calls of several sessions in flight nobody knows whose it is: a request is refused, a log is dropped. Nothing ever
//!    crosses from one session to another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::child::{Ended, Listener};
use crate::doubt::{self, Doubt, UNREADABLE, Verdict};
use crate::jsonrpc::{Edit, Kind, Message, code, error_response, is_batch, parse_batch, splice};
use crate::session::Session;
use crate::sessions::Sessions;
use crate::stdin::Stdin;

/// How far a lane's number stands to the left in the numbers of its requests. 2^21 lanes fit the integers that every JSON
/// library reads exactly.
const LANE_BITS: u32 = 32;
/// Lanes of one child, ever.
const MAX_LANES: u64 = 1 << 21;
/// The number of a ping: below every lane, and not that of `initialize`.
const PING: u64 = 1;

/// Which sessions share a child.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Whose they are; `None` where persons share.
    pub subject: Option<Arc<str>>,
    /// The revision and the capabilities that their clients offer, as written: the child knows one set of them.
    offer: Box<str>,
}

impl Key {
    /// The key of a session that begins with this `initialize`.
    #[must_use]
    pub fn new(subject: Option<Arc<str>>, initialize: &Message<'_>) -> Self {
        #[derive(Deserialize)]
        struct Initialize<'a> {
            #[serde(borrow, default)]
            params: Offer<'a>,
        }
        #[derive(Default, Deserialize)]
        struct Offer<'a> {
            #[serde(rename = "protocolVersion", borrow)]
            version: Option<&'a RawValue>,
            #[serde(borrow)]
            capabilities: Option<&'a RawValue>,
        }
        let offer = serde_json::from_str::<Initialize<'_>>(initialize.text)
            .map(|initialize| initialize.params)
            .unwrap_or_default();
        let raw = |value: Option<&RawValue>| value.map_or("", RawValue::get).to_owned();
        Self {
            subject,
            offer: format!("{} {}", raw(offer.version), raw(offer.capabilities)).into(),
        }
    }
}

/// A shared child.
#[derive(Debug)]
pub struct Trunk {
    /// Which sessions share it.
    pub key: Key,
    /// Its name in the log.
    pub span: tracing::Span,
    /// The way in.
    pub stdin: Arc<Stdin>,
    /// Ends the child when cancelled.
    pub stop: CancellationToken,
    sessions: Weak<Sessions>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    lanes: BTreeMap<u64, Arc<Session>>,
    last_lane: u64,
    /// Who waits for the answer to `initialize`.
    opening: Option<oneshot::Sender<String>>,
    /// The answer to `initialize`, a result.
    opened: Option<Arc<str>>,
    ended: bool,
    doubt: Doubt,
    /// Requests were given up since the child was last looked after.
    gave_up: bool,
    /// When the last session left.
    unused: Instant,
}

impl Trunk {
    /// Around a child that was just started.
    #[must_use]
    pub fn new(
        key: Key,
        span: tracing::Span,
        stdin: Arc<Stdin>,
        stop: CancellationToken,
        sessions: Weak<Sessions>,
    ) -> Self {
        Self {
            key,
            span,
            stdin,
            stop,
            sessions,
            state: Mutex::new(State {
                lanes: BTreeMap::new(),
                last_lane: 0,
                opening: None,
                opened: None,
                ended: false,
                doubt: Doubt::default(),
                gave_up: false,
                unused: Instant::now(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the `initialize` of the first session. What comes back is the child's whole answer; its end if there is none.
    pub fn open(&self, initialize: &Message<'_>) -> oneshot::Receiver<String> {
        let (sender, receiver) = oneshot::channel();
        self.lock().opening = Some(sender);
        let mut edits: Vec<Edit<'_>> = Vec::new();
        edits.extend(initialize.id.map(|id| (initialize.range(id), "0")));
        let line = splice(initialize.text, &mut edits);
        if let Err(error) = self.stdin.send(line) {
            debug!(parent: &self.span, %error, "cannot open the shared child");
            self.lock().opening = None;
        }
        receiver
    }

    /// Remembers the answer to `initialize` for every session to come.
    pub fn opened(&self, answer: &str) {
        self.lock().opened = Some(answer.into());
        let initialized = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        // A child that takes no line is about to end.
        let _ = self.stdin.send(initialized.to_vec());
    }

    /// The answer to `initialize`, while the child lives and has lanes left.
    #[must_use]
    pub fn answer(&self) -> Option<Arc<str>> {
        let state = self.lock();
        let usable = !state.ended && !self.stop.is_cancelled() && state.last_lane < MAX_LANES;
        state.opened.clone().filter(|_| usable)
    }

    /// The number before the first of a new lane.
    pub fn lane(&self) -> u64 {
        let mut state = self.lock();
        state.last_lane += 1;
        state.last_lane << LANE_BITS
    }

    /// A session has got the lane that begins after `first`.
    pub fn join(&self, first: u64, session: Arc<Session>) {
        self.lock().lanes.insert(first >> LANE_BITS, session);
    }

    /// A session is over.
    pub fn leave(&self, first: u64) {
        let mut state = self.lock();
        state.lanes.remove(&(first >> LANE_BITS));
        state.unused = Instant::now();
        if state.lanes.is_empty() && state.last_lane >= MAX_LANES {
            // Another one has taken its place, and nobody looks after this one any more.
            self.stop.cancel();
        }
    }

    /// Has it had no session since before this moment?
    #[must_use]
    pub fn is_unused_since(&self, then: Instant) -> bool {
        let state = self.lock();
        state.lanes.is_empty() && state.unused <= then
    }

    /// Has it ended?
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// Sessions gave up so many requests.
    pub fn gave_up(&self, requests: usize) {
        let mut state = self.lock();
        for _ in 0..requests {
            state.doubt.gave_up();
            state.gave_up = true;
        }
    }

    /// Pings the child when requests were given up, and ends it when it is of no use any more. `patience`: the time for the
    /// answer to a ping.
    pub fn look_after(&self, patience: Duration, now: Instant) {
        let verdict = {
            let mut state = self.lock();
            let just_now = std::mem::take(&mut state.gave_up);
            let verdict = state.doubt.verdict(just_now, patience, now);
            if verdict == Verdict::Ping {
                state.doubt.pinged(PING, now);
            }
            verdict
        };
        match verdict {
            Verdict::Goes => {}
            Verdict::Ping => {
                // Its time runs although the line may not get through.
                let _ = self.stdin.send(doubt::ping(PING));
            }
            Verdict::Ends(why) => self.give_in(why),
        }
    }

    /// Ends the child, and with it every session.
    fn give_in(&self, why: &'static str) {
        warn!(parent: &self.span, "{why}");
        for session in self.all() {
            session.fail(why);
        }
        self.stop.cancel();
    }

    fn of_number(&self, value: Option<&RawValue>) -> Option<Arc<Session>> {
        let number: u64 = value?.get().parse().ok()?;
        self.lock().lanes.get(&(number >> LANE_BITS)).cloned()
    }

    fn all(&self) -> Vec<Arc<Session>> {
        self.lock().lanes.values().cloned().collect()
    }

    /// The one session with calls in flight.
    fn only_busy(&self) -> Option<Arc<Session>> {
        let mut busy = self
            .all()
            .into_iter()
            .filter(|session| session.in_flight() > 0);
        match (busy.next(), busy.next()) {
            (Some(one), None) => Some(one),
            _ => None,
        }
    }

    fn message(&self, text: &str) {
        let message = match Message::parse(text) {
            Ok(message) => message,
            Err(error) => {
                warn!(parent: &self.span, %error, "skipped a line of the MCP server's stdout");
                return;
            }
        };
        {
            let doubt = &mut self.lock().doubt;
            if message.kind == Kind::Response && doubt.is_ping(message.number()) {
                return;
            }
            doubt.spoke();
        }
        let hear = |session: &Session| session.line(Bytes::copy_from_slice(text.as_bytes()));
        if message.kind == Kind::Response {
            if message.id.is_some_and(|id| id.get() == "0")
                && let Some(opening) = self.lock().opening.take()
            {
                // Who asked may have given up.
                let _ = opening.send(text.to_owned());
            } else if let Some(session) = self.of_number(message.id) {
                hear(&session);
            }
            return;
        }
        match &*message.method {
            "notifications/progress" => {
                if let Some(session) = self.of_number(message.params.progress_token) {
                    hear(&session);
                }
            }
            "notifications/tools/list_changed"
            | "notifications/prompts/list_changed"
            | "notifications/resources/list_changed" => {
                self.all().iter().for_each(|session| hear(session));
            }
            "notifications/resources/updated"
            | "notifications/tasks/status"
            | "notifications/elicitation/complete" => {
                if self.key.subject.is_some() {
                    self.all().iter().for_each(|session| hear(session));
                }
            }
            "notifications/cancelled" => {
                // Only the session that was asked knows the id.
                if let Some(id) = message.params.request_id
                    && let Some(session) = self.all().iter().find(|session| session.is_asked(id))
                {
                    hear(session);
                }
            }
            "ping" if message.kind == Kind::Request => {
                let id = message.id.map_or("null", RawValue::get);
                let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
                let _ = self.stdin.send(answer.into_bytes());
            }
            _ => match (self.only_busy(), message.id) {
                (Some(session), _) => hear(&session),
                (None, Some(id)) => {
                    let text = "this MCP server is shared, and its request names no call: it cannot be told whose it is";
                    let error = error_response(Some(id.get()), code::INTERNAL_ERROR, text, None);
                    let _ = self.stdin.send(error);
                }
                (None, None) => {
                    debug!(parent: &self.span, "dropped a notification of a shared MCP server that names no call");
                }
            },
        }
    }
}

impl Listener for Trunk {
    fn line(&self, line: Bytes) {
        let Ok(text) = std::str::from_utf8(&line) else {
            warn!(parent: &self.span, bytes = line.len(), "skipped a line of the MCP server's stdout: it is not UTF-8");
            self.unreadable();
            return;
        };
        if is_batch(text)
            && let Ok(members) = parse_batch(text)
        {
            for member in members {
                self.message(member);
            }
        } else if !text.trim().is_empty() {
            self.message(text);
        }
    }

    fn unreadable(&self) {
        if self.lock().doubt.was_unreadable() {
            self.give_in(UNREADABLE);
        }
    }

    fn ended(&self, how: &Ended) {
        let (first, answered) = {
            let mut state = self.lock();
            state.opening = None;
            (
                !std::mem::replace(&mut state.ended, true),
                state.opened.is_some(),
            )
        };
        if let Some(sessions) = self.sessions.upgrade() {
            sessions.trunk_ended(self, how, first, answered);
        }
        for session in self.all() {
            session.ended(how);
        }
        self.lock().lanes.clear();
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::unix::pipe;
    use tokio::runtime::Handle;

    use super::*;

    #[tokio::test]
    async fn a_child_without_lanes_left_ends_with_its_last_session() {
        let key = Key {
            subject: None,
            offer: "".into(),
        };
        let (pipe, _child) = pipe::pipe().unwrap();
        let stdin = Stdin::new(pipe, 1024, Handle::current());
        let (span, stop) = (tracing::Span::none(), CancellationToken::new());
        let trunk = Trunk::new(key, span, stdin, stop.clone(), Weak::new());
        trunk.opened("{}");
        trunk.leave(trunk.lane());
        assert!(trunk.answer().is_some() && !stop.is_cancelled());
        trunk.lock().last_lane = MAX_LANES - 1;
        let last = trunk.lane();
        assert!(
            trunk.answer().is_none(),
            "the next session gets another child"
        );
        assert!(!stop.is_cancelled());
        trunk.leave(last);
        assert!(stop.is_cancelled());
    }
}
