//! What the services count.

use chassis::metrics::Described;

use crate::{code, table};

const HEAD: [&str; 3] = ["metric", "kind", "what it counts"];

pub(crate) fn page() -> String {
    format!(
        "# Metrics

At `/metrics` of the private listener (port 9000), in the text format of OpenMetrics. Labels come from closed sets: never a person, a client, a path or
anything else that somebody outside can choose. A metric with labels appears once it has a value.

## mcp-auth

{}
## mcp-proxy

{}",
        table(&HEAD, auth::reference::metrics().iter().map(row)),
        table(&HEAD, mcp_proxy::reference::metrics().iter().map(row)),
    )
}

fn row(metric: &Described) -> Vec<String> {
    vec![
        code(&metric.name),
        metric.kind.to_owned(),
        format!("{}.", metric.help.trim_end_matches('.')),
    ]
}
