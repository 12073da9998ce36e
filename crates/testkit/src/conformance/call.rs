//! One call of a tool or prompt, as its behaviour sees it: the same in both eras.

use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};

use super::catalogue::Change;
use super::inputs::{Answers, Ask};
use super::message::{self, RpcError};
use super::{legacy, locked, modern, state};

/// Why a call has no complete result.
#[derive(Debug)]
pub(super) enum Failure {
    Rpc(RpcError),
    /// 2026-07-28: the client is asked to call again with answers.
    InputRequired {
        requests: Map<String, Value>,
        state: Option<String>,
    },
    /// The work failed: a tool says so in its result (`isError`).
    Work(String),
}

impl From<RpcError> for Failure {
    fn from(error: RpcError) -> Self {
        Self::Rpc(error)
    }
}

pub(super) type Outcome = Result<Value, Failure>;

/// How a 2026-07-28 server remembers what it was told, when it asks its client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rounds {
    /// One round: the retry carries all answers, no `requestState`.
    One,
    /// Possibly several: earlier answers travel in `requestState`.
    Several,
}

/// Who is told and asked.
pub(super) enum Peer {
    Legacy(Arc<legacy::Server>),
    Modern(Arc<modern::Server>, modern::Meta),
}

pub(super) struct Call {
    pub(super) peer: Peer,
    /// `tools/call` or `prompts/get`.
    pub(super) method: &'static str,
    pub(super) name: String,
    pub(super) progress_token: Option<Value>,
    /// Answers of the client to earlier rounds of this call (2026-07-28 only).
    pub(super) answers: Answers,
    /// Those of them that were used so far, for the next `requestState`.
    pub(super) used: Mutex<Answers>,
}

impl Call {
    /// Reads name and progress token; for 2026-07-28 also the answers of earlier rounds.
    pub(super) fn new(peer: Peer, method: &'static str, params: &Value) -> Result<Self, RpcError> {
        let name = message::text(params, "name")?.to_owned();
        let progress_token = params.pointer("/_meta/progressToken").cloned();
        let mut used = Answers::new();
        let mut answers = Answers::new();
        if matches!(peer, Peer::Modern(..)) {
            if let Some(state) = params.get("requestState") {
                let state = state
                    .as_str()
                    .ok_or_else(|| RpcError::invalid_params("`requestState` is not a string"))?;
                used = state::open(state, method, &name)?;
                answers.clone_from(&used);
            }
            if let Some(given) = params.get("inputResponses") {
                let given = given
                    .as_object()
                    .ok_or_else(|| RpcError::invalid_params("`inputResponses` is not an object"))?;
                answers.extend(given.clone());
            }
        }
        Ok(Self {
            peer,
            method,
            name,
            progress_token,
            answers,
            used: Mutex::new(used),
        })
    }

    /// Reports progress, if the caller asked for it.
    pub(super) async fn progress(&self, progress: u32, total: u32) {
        if let Some(token) = &self.progress_token {
            let params = json!({ "progressToken": token, "progress": progress, "total": total });
            self.notify("notifications/progress", &params).await;
        }
    }

    /// Logs at level `info`, if the client wants that.
    pub(super) async fn log(&self, text: &str) {
        let wanted = match &self.peer {
            Peer::Legacy(server) => server.logs("info"),
            Peer::Modern(_, meta) => meta.logs("info"),
        };
        if wanted {
            let params = json!({ "level": "info", "logger": "conformance", "data": text });
            self.notify("notifications/message", &params).await;
        }
    }

    /// Changes a list or resource and tells whoever listens.
    pub(super) async fn change(&self, change: Change) {
        match &self.peer {
            Peer::Legacy(server) => server.change(&change).await,
            Peer::Modern(server, _) => server.change(&change).await,
        }
    }

    async fn notify(&self, method: &str, params: &Value) {
        let outbox = match &self.peer {
            Peer::Legacy(server) => &server.outbox,
            Peer::Modern(server, _) => &server.outbox,
        };
        outbox.send(message::notification(method, params)).await;
    }

    /// Whether the client declared this capability.
    pub(super) fn declared(&self, capability: &str) -> bool {
        match &self.peer {
            Peer::Legacy(server) => server.declared(capability),
            Peer::Modern(_, meta) => meta.declared(capability),
        }
    }

    /// Asks the client, only for what it declared.
    pub(super) async fn ask(&self, asks: &[Ask], rounds: Rounds) -> Result<Answers, Failure> {
        let missing: Map<String, Value> = asks
            .iter()
            .map(Ask::capability)
            .filter(|it| !self.declared(it))
            .map(|it| (it.to_owned(), json!({})))
            .collect();
        if missing.is_empty() {
            return self.ask_undeclared(asks, rounds).await;
        }
        match &self.peer {
            Peer::Legacy(_) => {
                let missing: Vec<&str> = missing.keys().map(String::as_str).collect();
                Err(Failure::Work(format!(
                    "the client did not declare {}",
                    missing.join(", ")
                )))
            }
            Peer::Modern(..) => {
                let data = json!({ "requiredCapabilities": missing });
                Err(RpcError::new(-32021, "Missing required client capability")
                    .with_data(data)
                    .into())
            }
        }
    }

    /// Asks without looking at what the client declared, as a careless server does.
    pub(super) async fn ask_undeclared(
        &self,
        asks: &[Ask],
        rounds: Rounds,
    ) -> Result<Answers, Failure> {
        match &self.peer {
            Peer::Legacy(server) => server.ask(asks).await,
            Peer::Modern(..) => self.look_up(asks, rounds),
        }
    }

    /// 2026-07-28: the answers are in the call, or the call ends with the questions.
    fn look_up(&self, asks: &[Ask], rounds: Rounds) -> Result<Answers, Failure> {
        let mut answers = Answers::new();
        let mut requests = Map::new();
        for ask in asks {
            if let Some(answer) = self.answers.get(ask.key) {
                ask.check(answer)?;
                answers.insert(ask.key.to_owned(), answer.clone());
            } else {
                requests.insert(
                    ask.key.to_owned(),
                    json!({ "method": ask.method, "params": ask.params }),
                );
            }
        }
        let mut used = locked(&self.used);
        used.extend(answers.clone());
        if requests.is_empty() {
            return Ok(answers);
        }
        let state =
            (rounds == Rounds::Several).then(|| state::seal(self.method, &self.name, &used));
        Err(Failure::InputRequired { requests, state })
    }
}
