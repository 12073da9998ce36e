//! The event streams of one session: one per POST that needed one, and the one opened by GET.
//!
//! An event goes to exactly one stream (MCP 2025-11-25, streamable HTTP, "Multiple Connections"). It is remembered there
//! whether or not anybody reads it now, within the budget of [`Replay`].

use std::collections::HashMap;

use crate::replay::{EventId, Replay, STANDALONE};
use crate::sse::{self, Inlet, Outlet};

/// The streams of one session.
#[derive(Debug)]
pub struct Streams {
    table: HashMap<u64, Stream>,
    replay: Replay,
    /// Bytes that may wait for one reader.
    outlet_limit: usize,
    /// Does the client know events without data? (MCP 2025-11-25)
    pub priming: bool,
}

#[derive(Debug, Default)]
struct Stream {
    outlet: Option<Outlet>,
    /// Place of the last event.
    place: u64,
    /// Place of the last event that was handed to a reader.
    delivered: u64,
    /// How many of its events are remembered.
    remembered: usize,
    /// Nothing more will come.
    finished: bool,
}

impl Stream {
    fn hand_over(&mut self, chunk: bytes::Bytes, place: u64) {
        if let Some(outlet) = &self.outlet {
            if outlet.send(chunk).is_ok() {
                self.delivered = place;
            } else {
                // A lost or slow reader loses its stream and may resume it; the child never waits for it.
                self.outlet = None;
            }
        }
    }
}

impl Streams {
    /// `replay_limit`: bytes of events remembered; `outlet_limit`: bytes that may wait for one reader.
    #[must_use]
    pub fn new(replay_limit: usize, outlet_limit: usize) -> Self {
        let table = HashMap::from([(STANDALONE, Stream::default())]);
        Self {
            table,
            replay: Replay::new(replay_limit),
            outlet_limit,
            priming: false,
        }
    }

    /// Opens the stream of a POST.
    pub fn open(&mut self, stream: u64) -> Inlet {
        self.table.insert(stream, Stream::default());
        self.attach(EventId { stream, place: 0 })
    }

    /// Gives a stream a new reader, which gets what came after `last`. The reader before it, if any, is let go.
    fn attach(&mut self, last: EventId) -> Inlet {
        let (outlet, inlet) = sse::channel(self.outlet_limit);
        let Some(stream) = self.table.get_mut(&last.stream) else {
            return inlet;
        };
        stream.outlet = Some(outlet);
        if self.priming {
            stream.hand_over(sse::priming(&last.to_string()), last.place);
        }
        for event in self.replay.after(last) {
            // The budget of the replay is below that of a reader, so all of it fits.
            stream.hand_over(event.clone(), stream.place);
        }
        if stream.finished {
            stream.outlet = None;
        }
        inlet
    }

    /// Sends a message on a stream.
    pub fn emit(&mut self, stream: u64, message: &[u8]) {
        let Some(entry) = self.table.get_mut(&stream) else {
            return;
        };
        entry.place += 1;
        let id = EventId {
            stream,
            place: entry.place,
        };
        let event = sse::event(Some(&id.to_string()), message);
        entry.hand_over(event.clone(), id.place);
        if event.len() <= self.replay.limit() {
            entry.remembered += 1;
        }
        for forgotten in self.replay.push(id, event) {
            if let Some(stream) = self.table.get_mut(&forgotten) {
                stream.remembered -= 1;
            }
            self.forget_if_done(forgotten);
        }
    }

    /// Ends a stream after what was sent. It can be resumed while its events are remembered.
    pub fn finish(&mut self, stream: u64) {
        if let Some(entry) = self.table.get_mut(&stream) {
            entry.finished = true;
            entry.outlet = None;
        }
        self.forget_if_done(stream);
    }

    fn forget_if_done(&mut self, stream: u64) {
        if self
            .table
            .get(&stream)
            .is_some_and(|entry| entry.finished && entry.remembered == 0)
        {
            self.table.remove(&stream);
        }
    }

    /// Is somebody reading this stream?
    #[must_use]
    pub fn has_reader(&self, stream: u64) -> bool {
        self.table
            .get(&stream)
            .and_then(|entry| entry.outlet.as_ref())
            .is_some_and(|outlet| !outlet.is_gone())
    }

    /// Opens the standalone stream: begins with what nobody has read yet.
    pub fn listen(&mut self) -> Inlet {
        let place = self
            .table
            .get(&STANDALONE)
            .map_or(0, |stream| stream.delivered);
        self.attach(EventId {
            stream: STANDALONE,
            place,
        })
    }

    /// Goes on with the stream of an event after that event; `None` when there is no such event.
    pub fn resume(&mut self, last: EventId) -> Option<Inlet> {
        let known = self
            .table
            .get(&last.stream)
            .is_some_and(|stream| last.place <= stream.place);
        known.then(|| self.attach(last))
    }

    /// Ends the standalone stream's connection cleanly; the client may come back.
    pub fn end_standalone(&mut self) {
        if let Some(stream) = self.table.get_mut(&STANDALONE)
            && let Some(outlet) = stream.outlet.take()
            && self.priming
        {
            // A full or lost stream needs no farewell.
            let _ = outlet.send(sse::retry());
        }
    }

    /// Ends every stream.
    pub fn clear(&mut self) {
        self.table.clear();
        self.table.insert(STANDALONE, Stream::default());
        self.replay = Replay::new(self.replay.limit());
    }
}
