//! Content that tools, prompts and resources return.

use serde_json::{Value, json};

/// A PNG of one red pixel.
pub(super) const PIXEL_PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";

/// A WAV file without samples: 44-byte header, 8 kHz, 16 bit, mono.
pub(super) const SILENCE_WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=";

pub(super) fn text(text: impl Into<String>) -> Value {
    json!({ "type": "text", "text": text.into() })
}

pub(super) fn image() -> Value {
    json!({ "type": "image", "data": PIXEL_PNG, "mimeType": "image/png" })
}

pub(super) fn audio() -> Value {
    json!({ "type": "audio", "data": SILENCE_WAV, "mimeType": "audio/wav" })
}

pub(super) fn resource(uri: &str, mime_type: &str, text: &str) -> Value {
    json!({ "type": "resource", "resource": { "uri": uri, "mimeType": mime_type, "text": text } })
}
