//! Every session of this process: found by id, bounded in number, ended when idle.

mod trunks;

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use chassis::telemetry::untrusted;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, info_span};

use crate::child::{Ended, Listener, POLITE};
use crate::children::{Children, NoChild, Permit};
use crate::config::Sharing;
use crate::identity::{Identity, Owner};
use crate::jsonrpc::Message;
use crate::metrics::Counted;
use crate::replicas::Tag;
use crate::session::{Child, Limits, Session};
use crate::tools::announce::{declare, list_changed};
use crate::tools::reload::InForce;
use crate::trunk::{Key, Trunk};
use trunks::{Found, Turns};

/// The name of a session: 192 random bits in URL-safe base64, after the tag of this process where it has replicas. Whoever
/// knows it still has to be its owner.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionId(Arc<str>);

impl SessionId {
    fn generate(replica: Option<Tag>) -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 24];
        #[expect(
            clippy::disallowed_methods,
            reason = "an unguessable name has no use for a repeatable source"
        )]
        getrandom::fill(&mut bytes)?;
        let random = BASE64_URL_SAFE_NO_PAD.encode(bytes);
        Ok(Self(match replica {
            Some(tag) => tag.mark(&random).into(),
            None => random.into(),
        }))
    }

    /// The value of `Mcp-Session-Id`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for SessionId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SessionId([hidden])")
    }
}

/// What the log may say of the id of a session: the first 32 bits of its SHA-256 in hexadecimal digits. An operator who is told
/// a session id finds its lines; who reads the log does not learn it.
#[must_use]
pub fn hashed(id: &str) -> String {
    let hash = Sha256::digest(id.as_bytes());
    let mut text = String::with_capacity(8);
    for byte in hash.iter().take(4) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// How often it is looked whether there is room.
const ROOM: Duration = Duration::from_millis(20);
/// A POST that waits for the answer to `initialize` gives up by itself, and tells why; who reads a stream is told this much later.
const MARGIN: Duration = Duration::from_secs(1);

/// The sessions.
#[derive(Debug)]
pub struct Sessions {
    table: RwLock<HashMap<SessionId, Arc<Session>>>,
    children: Children,
    limits: Limits,
    opened: AtomicU64,
    counted: Counted,
    sharing: Sharing,
    bounds: Bounds,
    replica: Option<Tag>,
    tools: InForce,
    trunks: Mutex<HashMap<Key, Arc<Trunk>>>,
    opening: Turns,
}

/// How many sessions there may be where they share children, and how long `initialize` may take there.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Sessions in all.
    pub total: usize,
    /// Sessions of one person.
    pub per_subject: usize,
    /// Time for the answer to `initialize`.
    pub initialize: Duration,
}

/// What there is after `initialize` has come in.
#[derive(Debug)]
pub enum Opened {
    /// A session whose child has yet to be asked.
    Own(Arc<Session>),
    /// A session of a shared child, and the child's answer.
    Shared(Arc<Session>, Arc<str>),
    /// No session: the shared child answered with an error.
    Refused(String),
}

/// Why no session was opened.
#[derive(Debug, thiserror::Error)]
pub enum NotOpened {
    /// No child.
    #[error(transparent)]
    NoChild(#[from] NoChild),
    /// The shared child did not answer `initialize`.
    #[error("the MCP server did not answer initialize")]
    Unanswered,
    /// No random bits.
    #[error("the system gave no random bits: {0}")]
    NoChance(getrandom::Error),
}

/// The ear of a session: tells the table when the session's child has ended.
struct Ear {
    session: Arc<Session>,
    sessions: Arc<Sessions>,
    /// The child has answered something.
    answered: AtomicBool,
}

impl Listener for Ear {
    fn line(&self, line: Bytes) {
        self.session.line(line);
        if !self.answered.load(Ordering::Relaxed) && self.session.version().is_some() {
            self.answered.store(true, Ordering::Relaxed);
            self.sessions.children.note_answer();
        }
    }

    fn unreadable(&self) {
        self.session.unreadable();
    }

    fn ended(&self, how: &Ended) {
        let first = self.sessions.remove(&self.session);
        if first {
            let answered = self.answered.load(Ordering::Relaxed);
            self.sessions.children.note_end(how, answered);
        }
        self.session.ended(how);
    }
}

impl Sessions {
    /// No sessions yet. `replica`: what their names begin with where there are several replicas. `tools`: who may call which.
    #[must_use]
    pub fn new(
        children: Children,
        limits: Limits,
        counted: Counted,
        sharing: Sharing,
        bounds: Bounds,
        replica: Option<Tag>,
        tools: InForce,
    ) -> Self {
        Self {
            table: RwLock::default(),
            children,
            limits,
            opened: AtomicU64::new(0),
            counted,
            sharing,
            bounds,
            replica,
            tools,
            trunks: Mutex::default(),
            opening: Turns::default(),
        }
    }

    /// Opens a session around a child of its own, or in a lane of a shared one.
    pub async fn open(
        self: &Arc<Self>,
        identity: Option<&Identity>,
        initialize: &Message<'_>,
    ) -> Result<Opened, NotOpened> {
        let subject = match self.sharing {
            Sharing::Session => return Ok(Opened::Own(self.open_own(identity).await?)),
            Sharing::Person => identity.map(|identity| Arc::clone(&identity.owner.subject)),
            Sharing::Shared => None,
        };
        self.make_room(identity.map(|identity| &identity.owner))?;
        let person = identity.filter(|_| self.sharing == Sharing::Person);
        let key = Key::new(subject, initialize);
        let (trunk, answer) = match self.trunk(key, person, initialize).await? {
            Found::Open(trunk, answer) => (trunk, answer),
            Found::Refused(answer) => return Ok(Opened::Refused(answer)),
        };
        let first = trunk.lane();
        let child = Child::Shared {
            trunk: Arc::clone(&trunk),
            first,
        };
        let session = self.insert(identity, child)?;
        trunk.join(first, Arc::clone(&session));
        if let Ok(message) = Message::parse(&answer) {
            session.negotiated(&message);
        }
        if trunk.has_ended() {
            // It ended before it could know of this session.
            self.close(&session, "the MCP server process has ended");
            return Err(NotOpened::Unanswered);
        }
        let narrow = self.tools.now().narrow();
        let declared = narrow.then(|| declare(answer.as_bytes())).flatten();
        let declared = declared.and_then(|answer| String::from_utf8(answer).ok());
        let answer = declared.map_or(answer, Into::into);
        Ok(Opened::Shared(session, answer))
    }

    async fn open_own(
        self: &Arc<Self>,
        identity: Option<&Identity>,
    ) -> Result<Arc<Session>, NotOpened> {
        let owner = identity.map(|identity| identity.owner.clone());
        let permit = self.permit(owner.as_ref()).await?;
        let started = self.children.start(identity).await?;
        let stop = CancellationToken::new();
        let child = Child::Own {
            stdin: Arc::clone(&started.stdin),
            stop: stop.clone(),
        };
        let session = self.insert(identity, child)?;
        let ear = Ear {
            session: Arc::clone(&session),
            sessions: Arc::clone(self),
            answered: AtomicBool::new(false),
        };
        let watch = self.children.watch(stop, session.span.clone());
        started.listen(self.children.runtime(), Arc::new(ear), watch, permit);
        Ok(session)
    }

    fn insert(&self, identity: Option<&Identity>, child: Child) -> Result<Arc<Session>, NotOpened> {
        let owner = identity.map(|identity| identity.owner.clone());
        let id = SessionId::generate(self.replica).map_err(NotOpened::NoChance)?;
        let number = self.opened.fetch_add(1, Ordering::Relaxed) + 1;
        let login = identity.map_or("-", |identity| &identity.login);
        let subject = identity.map_or("-", |identity| &identity.owner.subject);
        let span = info_span!(
            "session",
            number,
            session = %hashed(id.as_str()),
            login = %untrusted(login),
            subject = %untrusted(subject),
        );
        info!(parent: &span, "session opened");
        let session = Arc::new(Session::new(
            id.clone(),
            owner,
            span,
            child,
            self.limits,
            self.counted.calls.clone(),
            self.tools.clone(),
        ));
        self.table
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, Arc::clone(&session));
        self.counted.sessions.inc();
        Ok(session)
    }

    /// The right to have one more child. A person with too many sessions loses the one that was left alone the longest:
    /// few clients ever end theirs.
    async fn permit(&self, owner: Option<&Owner>) -> Result<Permit, NoChild> {
        let subject = owner.map(|owner| &owner.subject);
        let refused = match self.children.permit(subject) {
            Err(NoChild::TooManyOfSubject) => NoChild::TooManyOfSubject,
            decided => return decided,
        };
        let now = Instant::now();
        let Some(session) = self.left_alone(subject, now) else {
            return Err(refused);
        };
        self.close(&session, "its person opened another one");
        let patience = now + POLITE + Duration::from_secs(1);
        while Instant::now() < patience {
            match self.children.permit(subject) {
                Err(NoChild::TooManyOfSubject) => tokio::time::sleep(ROOM).await,
                decided => return decided,
            }
        }
        Err(refused)
    }

    fn of_person(&self, subject: Option<&Arc<str>>) -> Vec<Arc<Session>> {
        let mut sessions = self.all();
        sessions.retain(|session| session.owner.as_ref().map(|owner| &owner.subject) == subject);
        sessions
    }

    /// The session of a person that was left alone the longest, if that is long enough.
    fn left_alone(&self, subject: Option<&Arc<str>>, now: Instant) -> Option<Arc<Session>> {
        self.of_person(subject)
            .into_iter()
            .filter_map(|session| Some((session.unused(now)?, session)))
            .max_by_key(|(unused, _)| *unused)
            .filter(|(unused, _)| *unused >= self.limits.left_alone)
            .map(|(_, session)| session)
    }

    /// The session of that id, if it is this caller's. Another's is as unknown as none.
    #[must_use]
    pub fn find(&self, id: &str, owner: Option<&Owner>) -> Option<Arc<Session>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table
            .get(id)
            .filter(|session| session.owner.as_ref() == owner)
            .cloned()
    }

    fn all(&self) -> Vec<Arc<Session>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.values().cloned().collect()
    }

    /// Takes a session from the table; `false` if it was not there any more.
    fn remove(&self, session: &Session) -> bool {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let removed = table.remove(&session.id).is_some();
        if removed {
            self.counted.sessions.dec();
        }
        removed
    }

    /// Ends a session and its child.
    pub fn close(&self, session: &Session, why: &str) {
        info!(parent: &session.span, why, "session ended");
        self.remove(session);
        session.close(why);
    }

    /// How many sessions are open.
    #[must_use]
    pub fn count(&self) -> usize {
        self.table
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// How many calls are in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.all().iter().map(|session| session.in_flight()).sum()
    }

    /// Ends sessions that nobody has used and calls that took too long. Called every second.
    pub fn sweep(&self, now: Instant) {
        for session in self.all() {
            if let Some(why) = session.give_up(now) {
                self.close(&session, why);
            } else if session.is_over(now) {
                self.close(&session, "the session was idle too long");
            } else if session.is_unopened(now, self.bounds.initialize + MARGIN) {
                self.close(&session, "the MCP server did not answer initialize in time");
            }
        }
        self.sweep_trunks(now);
    }

    /// Tells every client that its list of tools is another one now.
    pub fn tools_changed(&self) {
        for session in self.all() {
            session.announce(&list_changed(None));
        }
    }

    /// Ends the streams that would never end by themselves.
    pub fn drain(&self) {
        for session in self.all() {
            session.drain();
        }
    }

    /// Ends every session.
    pub fn close_all(&self) {
        for session in self.all() {
            self.close(&session, "the service is stopping");
        }
        for (_, trunk) in std::mem::take(&mut *self.trunks()) {
            trunk.stop.cancel();
        }
    }
}
