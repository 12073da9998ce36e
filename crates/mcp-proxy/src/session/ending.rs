//! How calls, and the session itself, come to an end before their answer.

use tokio::time::Instant;
use tracing::warn;

use crate::calls::{GIVEN_UP, LOST, cancellation};
use crate::doubt::{self, UNREADABLE, Verdict};
use crate::jsonrpc::{code, error_response};
use crate::session::{Child, Session};

impl Session {
    /// Ends the session and the child that is its own: who waits is answered at once.
    pub fn close(&self, why: &str) {
        let open = self.fail(why);
        match &self.child {
            Child::Own { stop, .. } => stop.cancel(),
            Child::Shared { trunk, first } => {
                trunk.leave(*first);
                for number in open {
                    // A child that takes no more lines will not miss this one.
                    let _ = trunk
                        .stdin
                        .send(cancellation(number, "the session has ended"));
                }
            }
        }
    }

    /// Gives up calls that took too long. `Some`: the child is of no use any more, and why.
    #[must_use]
    pub fn give_up(&self, now: Instant) -> Option<&'static str> {
        let mut cancelled = Vec::new();
        let (verdict, ping) = {
            let mut state = self.lock();
            let state = &mut *state;
            let overdue = state.calls.iter().filter(|(_, call)| call.deadline <= now);
            cancelled.extend(overdue.map(|(number, _)| *number));
            for number in &cancelled {
                if let Some(call) = state.calls.remove(number) {
                    state.doubt.gave_up();
                    warn!(parent: &self.span, request_id = call.shown(), "{GIVEN_UP}");
                    self.calls.timed_out.inc();
                    let text = "the MCP server did not answer in time";
                    let answer = error_response(Some(&call.client_id), code::TIMEOUT, text, None);
                    state.deliver(call.exchange, Some(answer));
                }
            }
            let verdict = match &self.child {
                Child::Own { .. } => {
                    let just_now = !cancelled.is_empty();
                    state.doubt.verdict(just_now, self.limits.ping, now)
                }
                // Who shares a child hears only what is its own.
                Child::Shared { trunk, .. } => {
                    trunk.gave_up(cancelled.len());
                    Verdict::Goes
                }
            };
            if verdict == Verdict::Ping {
                state.last_number += 1;
                state.doubt.pinged(state.last_number, now);
            }
            (verdict, state.last_number)
        };
        for number in cancelled {
            // A child that takes no more lines will not miss this one.
            let _ = self
                .child
                .stdin()
                .send(cancellation(number, "the request took too long"));
        }
        match verdict {
            Verdict::Goes => None,
            Verdict::Ping => {
                // Its time runs although the line may not get through.
                let _ = self.child.stdin().send(doubt::ping(ping));
                None
            }
            Verdict::Ends(why) => Some(why),
        }
    }

    /// A line of the child was too long or no text.
    pub fn unreadable(&self) {
        if self.lock().doubt.was_unreadable() {
            warn!(parent: &self.span, "{UNREADABLE}");
            self.close(UNREADABLE);
        }
    }

    /// Ends the session without its child. Answers the numbers of the calls that were in flight.
    pub fn fail(&self, why: &str) -> Vec<u64> {
        let mut state = self.lock();
        let state = &mut *state;
        if state.ended.is_some() {
            return Vec::new();
        }
        state.ended = Some(why.into());
        let open = state.calls.keys().copied().collect();
        for (_, call) in std::mem::take(&mut state.calls) {
            warn!(parent: &self.span, request_id = call.shown(), why, "{LOST}");
            let error = error_response(Some(&call.client_id), code::INTERNAL_ERROR, why, None);
            state.deliver(call.exchange, Some(error));
            self.calls.lost.inc();
        }
        state.streams.clear();
        state.asked.clear();
        open
    }
}
