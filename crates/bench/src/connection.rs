//! An HTTP/1.1 connection that costs the load generator as little as possible: what it burns is taken from what it measures.

use std::net::SocketAddr;
use std::ops::Range;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Headers of one answer that are read.
const MAX_HEADERS: usize = 32;

/// Bodies up to this many bytes are sent together with their heads.
const SMALL: usize = 64 * 1024;

/// A connection that is kept.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    received: BytesMut,
    sent: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// `Mcp-Session-Id`.
    pub session: Option<String>,
    /// The whole body.
    pub body: BytesMut,
}

enum Length {
    Known(usize),
    Chunked,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    ///
    /// If nobody listens there.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            received: BytesMut::with_capacity(16 * 1024),
            sent: Vec::new(),
        })
    }

    /// Sends a request and waits for its whole answer. `head`: request line and headers, each with its line end, without
    /// `Content-Length` and the empty line.
    ///
    /// # Errors
    ///
    /// If the connection breaks or the answer is not HTTP.
    pub async fn exchange(&mut self, head: &[u8], body: &[u8]) -> Result<Answer> {
        self.sent.clear();
        self.sent.extend_from_slice(head);
        self.sent
            .extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        if body.len() <= SMALL {
            self.sent.extend_from_slice(body);
            self.stream.write_all(&self.sent).await?;
        } else {
            self.stream.write_all(&self.sent).await?;
            self.stream.write_all(body).await?;
        }
        self.receive().await
    }

    async fn receive(&mut self) -> Result<Answer> {
        let (status, session, length) = loop {
            if let Some((head, rest)) = parse_head(&self.received)? {
                self.received.advance(rest);
                break head;
            }
            self.more().await?;
        };
        let body = match length {
            Length::Known(length) => {
                self.received
                    .reserve(length.saturating_sub(self.received.len()));
                while self.received.len() < length {
                    self.more().await?;
                }
                self.received.split_to(length)
            }
            Length::Chunked => self.chunks().await?,
        };
        Ok(Answer {
            status,
            session,
            body,
        })
    }

    async fn chunks(&mut self) -> Result<BytesMut> {
        let mut body = BytesMut::new();
        loop {
            let chunk: Range<usize> = loop {
                match httparse::parse_chunk_size(&self.received) {
                    Ok(httparse::Status::Complete((start, size))) => {
                        break start..start + usize::try_from(size)?;
                    }
                    Ok(httparse::Status::Partial) => self.more().await?,
                    Err(error) => bail!("the answer's chunks are broken: {error:?}"),
                }
            };
            let is_last = chunk.is_empty();
            while self.received.len() < chunk.end + 2 {
                self.more().await?;
            }
            body.extend_from_slice(self.received.get(chunk.clone()).unwrap_or_default());
            self.received.advance(chunk.end + 2);
            if is_last {
                return Ok(body);
            }
        }
    }

    async fn more(&mut self) -> Result<()> {
        let read = self.stream.read_buf(&mut self.received).await?;
        ensure!(read > 0, "the connection was closed before the answer");
        Ok(())
    }
}

type Head = (u16, Option<String>, Length);

fn parse_head(text: &[u8]) -> Result<Option<(Head, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(text)? else {
        return Ok(None);
    };
    let status = response.code.context("no status")?;
    let (mut session, mut body) = (None, Length::Known(0));
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            body = Length::Known(std::str::from_utf8(header.value)?.parse()?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            body = Length::Chunked;
        } else if header.name.eq_ignore_ascii_case("mcp-session-id") {
            session = Some(String::from_utf8(header.value.to_vec())?);
        }
    }
    Ok(Some(((status, session, body), length)))
}
