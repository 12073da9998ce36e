//! Requests that were pushed to the client and wait for its answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::sync::oneshot;

use super::locked;

type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Value>>>>;

/// Requests in flight towards the client, by their id.
#[derive(Clone, Default)]
pub(super) struct Pending(Waiting);

/// A place in the table, given back when the asking call ends or is cancelled.
pub(super) struct Waiter {
    pub(super) id: String,
    answer: oneshot::Receiver<Value>,
    table: Waiting,
}

impl Pending {
    /// Takes an id: the wished one, or with a number behind it as long as another request in flight has it.
    pub(super) fn enter(&self, wish: &str) -> Waiter {
        let (sender, answer) = oneshot::channel();
        let mut table = locked(&self.0);
        let mut id = wish.to_owned();
        let mut number = 2;
        while table.contains_key(&id) {
            id = format!("{wish}-{number}");
            number += 1;
        }
        table.insert(id.clone(), sender);
        Waiter {
            id,
            answer,
            table: Arc::clone(&self.0),
        }
    }

    /// Hands the client's response to the call that waits for it; one that nobody waits for is dropped.
    pub(super) fn answer(&self, response: Value) {
        let waiting = response
            .get("id")
            .and_then(Value::as_str)
            .and_then(|id| locked(&self.0).remove(id));
        if let Some(waiting) = waiting {
            drop(waiting.send(response));
        }
    }
}

impl Waiter {
    /// The whole response, `result` or `error`. `None` when the process ends first.
    pub(super) async fn response(&mut self) -> Option<Value> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        locked(&self.table).remove(&self.id);
    }
}
