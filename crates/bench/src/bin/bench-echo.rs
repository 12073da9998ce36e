//! The child of the benchmark: a dual-era stdio MCP server that does nothing but answer, as cheaply as can be.
//!
//! Tools: `echo` says `text`, `large` says `bytes` times `x`, `size` says how long `text` is. `--legacy`: knows no `server/discover`.

use std::borrow::Cow;
use std::io::{BufRead as _, BufReader, Write as _};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    params: Params<'a>,
}

#[derive(Default, Deserialize)]
struct Params<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    arguments: Arguments<'a>,
    #[serde(borrow, default, rename = "protocolVersion")]
    protocol_version: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
struct Arguments<'a> {
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(default)]
    bytes: usize,
}

fn main() -> anyhow::Result<()> {
    let is_legacy = std::env::args().any(|argument| argument == "--legacy");
    // Unbuffered below these: what is read and written at once is decided here.
    let mut input = BufReader::with_capacity(64 * 1024, std::io::stdin().lock());
    let mut output = std::io::stdout().lock();
    let mut answers = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let request: Request<'_> = serde_json::from_slice(&line)?;
        if let Some(id) = request.id {
            answer(&mut answers, id, &request, is_legacy)?;
        }
        if !input.buffer().contains(&b'\n') && !answers.is_empty() {
            output.write_all(&answers)?;
            output.flush()?;
            answers.clear();
            answers.shrink_to(64 * 1024);
        }
    }
}

fn answer(
    out: &mut Vec<u8>,
    id: &RawValue,
    request: &Request<'_>,
    is_legacy: bool,
) -> std::io::Result<()> {
    let modern = r#""resultType":"complete","#;
    let modern = if is_legacy { "" } else { modern };
    write!(out, r#"{{"jsonrpc":"2.0","id":{id},"#)?;
    let mut say = |text: &str, more: usize| {
        write!(
            out,
            r#""result":{{{modern}"content":[{{"type":"text","text":"{text}"#
        )?;
        out.resize(out.len() + more, b'x');
        out.write_all(br#""}]}"#)
    };
    let arguments = &request.params.arguments;
    let text = arguments.text.map_or("\"\"", RawValue::get);
    // A string without its quotation marks: it goes out as it came in.
    let text = text.get(1..text.len() - 1).unwrap_or_default();
    match (&*request.method, &*request.params.name) {
        ("tools/call", "large") => say("", arguments.bytes)?,
        ("tools/call", "size") => say(&text.len().to_string(), 0)?,
        ("tools/call", _) => say(text, 0)?,
        ("initialize", _) => {
            let result = json!({
                "protocolVersion": request.params.protocol_version,
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "bench-echo", "version": "1" },
            });
            write!(out, r#""result":{result}"#)?;
        }
        ("tools/list", _) => {
            let result = json!({
                "resultType": "complete", "ttlMs": 60_000, "cacheScope": "private",
                "tools": [tool("echo"), tool("large"), tool("size")],
            });
            write!(out, r#""result":{result}"#)?;
        }
        ("server/discover", _) if !is_legacy => {
            let result = json!({
                "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
                "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} },
                "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "bench-echo", "version": "1" } },
            });
            write!(out, r#""result":{result}"#)?;
        }
        ("ping", _) => write!(out, r#""result":{{}}"#)?,
        _ => write!(
            out,
            r#""error":{{"code":-32601,"message":"Method not found"}}"#
        )?,
    }
    out.write_all(b"}\n")
}

fn tool(name: &str) -> Value {
    let properties = json!({ "text": { "type": "string" }, "bytes": { "type": "integer" } });
    json!({ "name": name, "inputSchema": { "type": "object", "properties": properties } })
}
