//! Resources and resource templates.

use serde_json::{Value, json};

use super::content::PIXEL_PNG;
use super::message::{self, RpcError};

pub(super) fn list() -> Value {
    json!({ "resources": [
        {
            "uri": "test://static-text", "name": "static-text", "title": "Static text",
            "description": "A text that never changes", "mimeType": "text/plain",
        },
        {
            "uri": "test://static-binary", "name": "static-binary", "title": "Static picture",
            "description": "A picture of one pixel", "mimeType": "image/png",
        },
        {
            "uri": "test://watched-resource", "name": "watched-resource", "title": "Watched text",
            "description": "Clients may subscribe to it; `test_trigger_resource_update` says that it changed", "mimeType": "text/plain",
        },
    ] })
}

pub(super) fn templates() -> Value {
    json!({ "resourceTemplates": [{
        "uriTemplate": "test://template/{id}/data", "name": "template-data", "title": "Data by id",
        "description": "The id comes back in the text", "mimeType": "application/json",
    }] })
}

/// Reads a resource; `unknown` is the error code of the revision for one that does not exist.
pub(super) fn read(params: &Value, unknown: i64) -> Result<Value, RpcError> {
    let uri = message::text(params, "uri")?;
    let content = match uri {
        "test://static-text" => {
            json!({ "uri": uri, "mimeType": "text/plain", "text": "This is the content of the static text resource." })
        }
        "test://static-binary" => json!({ "uri": uri, "mimeType": "image/png", "blob": PIXEL_PNG }),
        "test://watched-resource" => {
            json!({ "uri": uri, "mimeType": "text/plain", "text": "Watched resource content" })
        }
        _ => {
            let id = uri
                .strip_prefix("test://template/")
                .and_then(|rest| rest.strip_suffix("/data"));
            let Some(id) = id.filter(|id| !id.is_empty() && !id.contains('/')) else {
                return Err(
                    RpcError::new(unknown, "Resource not found").with_data(json!({ "uri": uri }))
                );
            };
            let text =
                json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") })
                    .to_string();
            json!({ "uri": uri, "mimeType": "application/json", "text": text })
        }
    };
    Ok(json!({ "contents": [content] }))
}
