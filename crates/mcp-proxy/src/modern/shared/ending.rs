//! How requests, and the child itself, come to an end before their answer.

use tokio::time::Instant;
use tracing::warn;

use crate::calls::{GIVEN_UP, LOST, cancellation};
use crate::doubt::{self, UNREADABLE, Verdict};
use crate::jsonrpc::{code, error_response};
use crate::modern::request::Request;
use crate::modern::shared::Shared;

impl Shared {
    /// Gives up requests that took too long. `Some`: the child is of no use any more, and why.
    #[must_use]
    pub fn give_up(&self, now: Instant) -> Option<&'static str> {
        let mut overdue = Vec::new();
        let (verdict, ping) = {
            let mut state = self.lock();
            let numbers: Vec<u64> = state
                .requests
                .iter()
                .filter(|(_, request)| !request.listens && request.call.deadline <= now)
                .map(|(number, _)| *number)
                .collect();
            for number in numbers {
                if let Some(request) = state.requests.remove(&number) {
                    state.doubt.gave_up();
                    self.calls.timed_out.inc();
                    overdue.push((number, request));
                }
            }
            let just_now = !overdue.is_empty();
            let verdict = state.doubt.verdict(just_now, self.limits.ping, now);
            if verdict == Verdict::Ping {
                state.last_number += 1;
                let number = state.last_number;
                state.doubt.pinged(number, now);
            }
            (verdict, state.last_number)
        };
        for (number, request) in overdue {
            warn!(parent: &self.span, request_id = request.call.shown(), "{GIVEN_UP}");
            let _ = self
                .stdin
                .send(cancellation(number, "the request took too long"));
            let text = "the MCP server did not answer in time";
            let answer = error_response(Some(&request.call.client_id), code::TIMEOUT, text, None);
            request.finish(answer, self.limits.reader_bytes);
        }
        match verdict {
            Verdict::Goes => None,
            Verdict::Ping => {
                // Its time runs although the line may not get through.
                let _ = self.stdin.send(doubt::discover(ping));
                None
            }
            Verdict::Ends(why) => Some(why),
        }
    }

    /// Ends the requests that would never end by themselves, with their completion.
    pub fn drain(&self) {
        let listening: Vec<(u64, Request)> = {
            let mut state = self.lock();
            let numbers: Vec<u64> = state
                .requests
                .iter()
                .filter(|(_, request)| request.listens)
                .map(|(number, _)| *number)
                .collect();
            numbers
                .into_iter()
                .filter_map(|number| Some((number, state.requests.remove(&number)?)))
                .collect()
        };
        for (_, request) in listening {
            let id = request.call.client_id.clone();
            let answer = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete","_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}}}}}"#
            );
            request.finish(answer.into_bytes(), self.limits.reader_bytes);
        }
    }

    /// Ends the child: who waits is answered at once.
    pub fn close(&self, why: &str) {
        self.drain();
        self.end(why);
        self.stop.cancel();
    }

    pub(super) fn end(&self, why: &str) {
        let requests = {
            let mut state = self.lock();
            state.ended.get_or_insert_with(|| why.into());
            std::mem::take(&mut state.requests)
        };
        for request in requests.into_values() {
            warn!(parent: &self.span, request_id = request.call.shown(), why, "{LOST}");
            self.calls.lost.inc();
            let answer = error_response(
                Some(&request.call.client_id),
                code::INTERNAL_ERROR,
                why,
                None,
            );
            request.finish(answer, self.limits.reader_bytes);
        }
    }

    /// A line of the child was too long or no text.
    pub(super) fn was_unreadable(&self) {
        if self.lock().doubt.was_unreadable() {
            warn!(parent: &self.span, "{UNREADABLE}");
            self.close(UNREADABLE);
        }
    }
}
