//! Calls that are being served, so that the client can cancel them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::task::AbortHandle;

use super::locked;

/// Calls in flight, by the JSON text of their id: the number 1 and the string "1" are different ids.
#[derive(Clone, Default)]
pub(super) struct Calls(Arc<Mutex<HashMap<String, AbortHandle>>>);

impl Calls {
    /// Serves a call beside the others. Its answer is part of `serving`: a cancelled call is never answered.
    pub(super) fn spawn(&self, id: &Value, serving: impl Future<Output = ()> + Send + 'static) {
        let key = id.to_string();
        let calls = self.clone();
        let done = key.clone();
        let task = tokio::spawn(async move {
            serving.await;
            locked(&calls.0).remove(&done);
        });
        // The runtime has one thread, so the task has not run yet.
        locked(&self.0).insert(key, task.abort_handle());
    }

    /// Ends the call named by `notifications/cancelled`; an unknown one is ignored, as the specification asks.
    pub(super) fn cancel(&self, params: &Value) {
        let call = params
            .get("requestId")
            .and_then(|id| locked(&self.0).remove(&id.to_string()));
        if let Some(call) = call {
            call.abort();
        }
    }
}
