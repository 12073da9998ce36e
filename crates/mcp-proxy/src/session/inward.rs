//! What the client says goes to the child.

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::debug;

use std::sync::Arc;

use crate::calls::{Accepts, Call, inward};
use crate::jsonrpc::{Kind, Message, splice};
use crate::session::state::{Answer, Exchange};
use crate::session::{Pending, Refused, Session};
use crate::stdin::Haste;

impl Session {
    /// Sends a request to the child.
    pub fn request(&self, message: &Message<'_>, accepts: Accepts) -> Result<Pending, Refused> {
        self.exchange(std::slice::from_ref(message), accepts, None)
    }

    /// Sends the members of a batch to the child (MCP 2025-03-26). `answered`: answers of ours to other members, which go
    /// with the child's. `None`: there was no request among them.
    pub fn batch(
        &self,
        messages: &[Message<'_>],
        accepts: Accepts,
        answered: Vec<Vec<u8>>,
    ) -> Result<Option<Pending>, Refused> {
        let (requests, others): (Vec<_>, Vec<_>) = messages
            .iter()
            .partition(|message| message.kind == Kind::Request);
        for message in others {
            self.tell(message)?;
        }
        if requests.is_empty() {
            return Ok(None);
        }
        let requests: Vec<Message<'_>> = requests
            .into_iter()
            .filter_map(|message| {
                let again = Message::parse(message.text).ok()?;
                Some(again.of(message.came_with))
            })
            .collect();
        self.exchange(&requests, accepts, Some(answered)).map(Some)
    }

    fn exchange(
        &self,
        messages: &[Message<'_>],
        accepts: Accepts,
        batch: Option<Vec<Vec<u8>>>,
    ) -> Result<Pending, Refused> {
        let (sender, reply) = oneshot::channel();
        let (batch, answered) = (batch.is_some(), batch.unwrap_or_default());
        let mut number = 0;
        self.child.stdin().send_with(|| {
            let now = Instant::now();
            let mut state = self.lock();
            let state = &mut *state;
            state.last_post = now;
            if let Some(how) = &state.ended {
                return Err(Refused::Ended(Arc::clone(how)));
            }
            if state.calls.len() + messages.len() > self.limits.in_flight {
                return Err(Refused::Busy);
            }
            let haste = if state.calls.is_empty() {
                Haste::Now
            } else {
                Haste::Soon
            };
            number = state.last_number + 1;
            let mut lines = Vec::new();
            for message in messages {
                state.last_number += 1;
                let call = Call::new(number, message, self.limits.patience, now);
                state.calls.insert(state.last_number, call);
                let line = inward(message, state.last_number);
                if lines.is_empty() {
                    lines = line;
                } else {
                    lines.push(b'\n');
                    lines.extend_from_slice(&line);
                }
            }
            let answer = Answer::Waiting(sender, answered);
            state.exchanges.insert(
                number,
                Exchange {
                    accepts,
                    batch,
                    remaining: messages.len(),
                    answer,
                },
            );
            if !accepts.json {
                state.begin_stream(number);
            }
            Ok((lines, haste))
        })?;
        Ok(Pending {
            reply,
            exchange: number,
        })
    }

    /// Passes on a notification or a response of the client.
    pub fn tell(&self, message: &Message<'_>) -> Result<(), Refused> {
        let now = Instant::now();
        {
            let mut state = self.lock();
            state.last_post = now;
            if let Some(how) = &state.ended {
                return Err(Refused::Ended(Arc::clone(how)));
            }
        }
        match message.kind {
            // A shared child has been told once.
            Kind::Notification
                if self.is_shared() && message.method == "notifications/initialized" =>
            {
                Ok(())
            }
            Kind::Notification if message.method == "notifications/cancelled" => {
                self.cancel(message)
            }
            Kind::Notification => Ok(self.child.stdin().send(inward(message, 0))?),
            Kind::Response => {
                let known = message
                    .id
                    .is_some_and(|id| self.lock().asked.remove(id.get()).is_some());
                if known {
                    self.child.stdin().send(splice(message.text, &mut []))?;
                } else {
                    debug!(parent: &self.span, "dropped a response to nothing that was asked");
                }
                Ok(())
            }
            Kind::Request => Ok(()),
        }
    }

    /// Passes a cancellation on, and lets go who waits: the child is not to answer any more.
    fn cancel(&self, message: &Message<'_>) -> Result<(), Refused> {
        let Some(id) = message.params.request_id else {
            return Ok(());
        };
        let number = {
            let mut state = self.lock();
            let state = &mut *state;
            let cancelled = state
                .calls
                .iter()
                .filter(|(_, call)| &*call.client_id == id.get());
            let Some(number) = cancelled.map(|(number, _)| *number).max() else {
                return Ok(());
            };
            if let Some(call) = state.calls.remove(&number) {
                state.deliver(call.exchange, None);
                self.calls.cancelled.inc();
            }
            number.to_string()
        };
        let line = splice(message.text, &mut [(message.range(id), &number)]);
        Ok(self.child.stdin().send(line)?)
    }
}
