//! What a session remembers: calls in flight, the POSTs that wait for them, and the streams.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use crate::calls::{Accepts, Call, Reply, ReplySender};
use crate::doubt::Doubt;
use crate::jsonrpc::Message;
use crate::replay::STANDALONE;
use crate::streams::Streams;
use crate::version::Version;

#[derive(Debug)]
pub(super) struct State {
    pub(super) ended: Option<Arc<str>>,
    pub(super) version: Option<Version>,
    /// The number of the last call or exchange.
    pub(super) last_number: u64,
    pub(super) calls: HashMap<u64, Call>,
    pub(super) exchanges: HashMap<u64, Exchange>,
    /// Requests of the child by their raw id, with the stream they went to.
    pub(super) asked: HashMap<Box<str>, u64>,
    pub(super) late_tokens: VecDeque<(u64, Box<str>)>,
    pub(super) streams: Streams,
    pub(super) doubt: Doubt,
    pub(super) last_post: Instant,
}

/// A POST that waits for answers.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) accepts: Accepts,
    pub(super) batch: bool,
    /// Answers still to come.
    pub(super) remaining: usize,
    pub(super) answer: Answer,
}

#[derive(Debug)]
pub(super) enum Answer {
    /// Nothing has been sent; these answers of a batch are there.
    Waiting(ReplySender, Vec<Vec<u8>>),
    /// Answers go to the stream of that number.
    Streaming,
}

impl Exchange {
    pub(super) fn has_reader(&self, number: u64, streams: &Streams) -> bool {
        match &self.answer {
            Answer::Waiting(reply, _) => self.accepts.sse && !reply.is_closed(),
            Answer::Streaming => streams.has_reader(number),
        }
    }
}

impl State {
    pub(super) fn new(streams: Streams) -> Self {
        Self {
            ended: None,
            version: None,
            last_number: STANDALONE,
            calls: HashMap::new(),
            exchanges: HashMap::new(),
            asked: HashMap::new(),
            late_tokens: VecDeque::new(),
            streams,
            doubt: Doubt::default(),
            last_post: Instant::now(),
        }
    }

    pub(super) fn negotiated(&mut self, message: &Message<'_>) {
        #[derive(serde::Deserialize)]
        struct Initialized<'a> {
            #[serde(rename = "protocolVersion", borrow)]
            protocol_version: std::borrow::Cow<'a, str>,
        }
        let result = message
            .result
            .and_then(|result| serde_json::from_str::<Initialized<'_>>(result.get()).ok());
        if let Some(result) = result {
            // A version that is not ours is older than all of ours, or the child would not have been asked for it.
            let version = Version::parse(&result.protocol_version).unwrap_or(Version::V20241105);
            self.version = Some(version);
            self.streams.priming = version >= Version::V20251125;
        }
    }

    /// The exchange or stream for what names no call.
    pub(super) fn current(&self) -> u64 {
        self.exchanges
            .iter()
            .filter(|(number, exchange)| exchange.has_reader(**number, &self.streams))
            .map(|(number, _)| *number)
            .max()
            .unwrap_or(STANDALONE)
    }

    pub(super) fn begin_stream(&mut self, number: u64) {
        let Some(exchange) = self.exchanges.get_mut(&number) else {
            return;
        };
        if let Answer::Waiting(..) = exchange.answer
            && let Answer::Waiting(reply, collected) =
                std::mem::replace(&mut exchange.answer, Answer::Streaming)
        {
            // If nobody waits any more, the stream has lost its reader at once.
            let _ = reply.send(Reply::Stream(self.streams.open(number)));
            for answer in collected {
                self.streams.emit(number, &answer);
            }
        }
    }

    /// Sends something that is not an answer.
    pub(super) fn emit(&mut self, number: u64, message: &[u8]) {
        let stream = match self.exchanges.get(&number) {
            Some(exchange) if exchange.accepts.sse => number,
            _ => STANDALONE,
        };
        self.begin_stream(stream);
        self.streams.emit(stream, message);
    }

    /// Gives an answer to the POST that waits for it; none if the call was cancelled.
    pub(super) fn deliver(&mut self, number: u64, answer: Option<Vec<u8>>) {
        let Some(exchange) = self.exchanges.get_mut(&number) else {
            return;
        };
        exchange.remaining -= 1;
        let complete = exchange.remaining == 0;
        match &mut exchange.answer {
            Answer::Streaming => {
                if let Some(answer) = answer {
                    self.streams.emit(number, &answer);
                }
                if complete {
                    self.streams.finish(number);
                    self.exchanges.remove(&number);
                }
                return;
            }
            Answer::Waiting(_, collected) if !complete => {
                collected.extend(answer);
                return;
            }
            Answer::Waiting(..) => {}
        }
        if let Some(Exchange {
            batch,
            answer: Answer::Waiting(reply, mut collected),
            ..
        }) = self.exchanges.remove(&number)
        {
            let first = match answer {
                Some(answer) if !batch => Reply::Json(answer),
                answer => {
                    collected.extend(answer);
                    if collected.is_empty() {
                        Reply::Nothing
                    } else {
                        Reply::Json([b"[".as_slice(), &collected.join(&b','), b"]"].concat())
                    }
                }
            };
            // A client that went away before anything was sent has nothing to resume from.
            let _ = reply.send(first);
        }
    }
}
