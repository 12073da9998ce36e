//! How calls, and the child itself, come to an end before their answer.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::warn;

use crate::calls::{GIVEN_UP, LOST, cancellation};
use crate::doubt::{self, Verdict};
use crate::jsonrpc::{code, error_response};
use crate::modern::request::{Request, Serving};
use crate::modern::translation::child::conversation::Conversation;
use crate::modern::translation::child::{Legacy, State};
use crate::modern::translation::listening::completion;

impl Legacy {
    /// Tells the child that nobody wants the answer of a call any more. A leased child is ended: what it says of that call from
    /// now on could not be told from what it says of the next.
    pub(in crate::modern::translation) fn abandon(&self, number: u64, why: &str) {
        // A child that takes no more lines will not miss this one.
        let _ = self.stdin.send(cancellation(number, why));
        if self.exclusive {
            self.close(why);
        }
    }

    pub(super) fn freed(&self) {
        if let Some(leases) = self.home.leases.upgrade() {
            leases.freed.notify_waiters();
        }
    }

    /// Gives up requests that took too long, and parked calls whose client has not come back.
    pub fn give_up(&self, now: Instant) {
        let mut late = Vec::new();
        let (verdict, ping) = {
            let mut state = self.lock();
            state.own.retain(|_, sender| !sender.is_closed());
            let over = |call: &Conversation| match (&call.waiting, call.parked) {
                (Some((_, request)), _) => request.call.deadline <= now,
                (None, Some((_, end))) => end <= now,
                (None, None) => false,
            };
            let numbers: Vec<u64> = state
                .calls
                .iter()
                .filter(|(_, call)| over(call))
                .map(|(number, _)| *number)
                .collect();
            let mut just_now = false;
            for number in numbers {
                let call = state.calls.get(&number);
                if call.is_some_and(|call| call.waiting.is_some()) {
                    state.doubt.gave_up();
                    just_now = true;
                }
                late.extend(self.conclude(&mut state, number).map(|call| (number, call)));
            }
            let verdict = state.doubt.verdict(just_now, self.home.limits.ping, now);
            if verdict == Verdict::Ping {
                state.last_number += 1;
                let number = state.last_number;
                state.doubt.pinged(number, now);
            }
            (verdict, state.last_number)
        };
        for (number, conversation) in late {
            if let Some((_, request)) = conversation.waiting {
                warn!(parent: &self.span, request_id = request.call.shown(), "{GIVEN_UP}");
                let text = "the MCP server did not answer in time";
                let id = Some(&*request.call.client_id);
                let answer = error_response(id, code::TIMEOUT, text, None);
                self.home.calls.timed_out.inc();
                request.finish(answer, self.home.limits.reader_bytes);
                self.abandon(number, "the request took too long");
            } else {
                self.home.calls.cancelled.inc();
                self.abandon(number, "the client did not come back in time");
            }
        }
        match verdict {
            Verdict::Goes => {}
            Verdict::Ping => {
                // Its time runs although the line may not get through.
                let _ = self.stdin.send(doubt::ping(ping));
            }
            Verdict::Ends(why) => {
                warn!(parent: &self.span, "{why}");
                self.close(why);
            }
        }
    }

    /// Ends the requests that would never end by themselves, with their completion.
    pub fn drain(&self) {
        let listening = std::mem::take(&mut self.lock().listening);
        for listening in listening.into_values() {
            let answer = completion(&listening.request.call.client_id, self.server());
            listening
                .request
                .finish(answer, self.home.limits.reader_bytes);
        }
    }

    /// Ends the child: who waits is answered at once.
    pub fn close(&self, why: &str) {
        self.drain();
        self.end(why);
        self.stop.cancel();
    }

    pub(in crate::modern::translation) fn end(&self, why: &str) {
        let (calls, listening, own, how) = {
            let mut state = self.lock();
            let how = Arc::clone(state.ended.get_or_insert_with(|| why.into()));
            state.early.clear();
            (
                std::mem::take(&mut state.calls),
                std::mem::take(&mut state.listening),
                std::mem::take(&mut state.own),
                how,
            )
        };
        for sender in own.into_values() {
            // Who asked may have given up.
            let _ = sender.send(Err(Arc::clone(&how)));
        }
        let mut requests: Vec<Request> = listening.into_values().map(|it| it.request).collect();
        for call in calls.into_values() {
            let request_id = call.waiting.as_ref().and_then(|(_, it)| it.call.shown());
            warn!(parent: &self.span, request_id, why, "{LOST}");
            self.home.calls.lost.inc();
            if let Some((ticket, _)) = call.parked {
                self.home.parked.remove(ticket);
            }
            requests.extend(call.waiting.map(|(_, request)| request));
        }
        for request in requests {
            let id = Some(&*request.call.client_id);
            let answer = error_response(id, code::INTERNAL_ERROR, why, None);
            request.finish(answer, self.home.limits.reader_bytes);
        }
        self.freed();
    }
}

impl Serving for Legacy {
    fn begin_stream(&self, number: u64) {
        let limit = self.home.limits.reader_bytes;
        let mut state = self.lock();
        let State {
            calls, listening, ..
        } = &mut *state;
        let waiting = calls.values_mut().filter_map(|call| call.waiting.as_mut());
        if let Some((_, request)) = waiting.into_iter().find(|(post, _)| *post == number) {
            request.begin_stream(limit);
        } else if let Some(listening) = listening.get_mut(&number) {
            listening.request.begin_stream(limit);
        }
    }

    fn cancel(&self, number: u64) {
        let (called, listening) = {
            let mut state = self.lock();
            let waits = |call: &Conversation| {
                call.waiting
                    .as_ref()
                    .is_some_and(|(post, _)| *post == number)
            };
            let called = state
                .calls
                .iter()
                .find(|(_, call)| waits(call))
                .map(|(called, _)| *called);
            if let Some(called) = called {
                self.conclude(&mut state, called);
            }
            (called, state.listening.remove(&number))
        };
        // Its subscriptions end with it, outside of the lock.
        drop(listening);
        if let Some(called) = called {
            self.home.calls.cancelled.inc();
            self.abandon(called, "the client closed the connection");
        }
    }
}
