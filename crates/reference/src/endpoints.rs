//! What the services answer.

use auth::endpoints::{ADMINISTRATION, Endpoint, PUBLIC};

use crate::{code, table};

const HEAD: [&str; 4] = ["path", "methods", "what it is for", "specified in"];

pub(crate) fn page() -> String {
    format!(
        "# Endpoints

Another method than those of the table is answered 405 with `Allow`, another path 404; both as JSON.

## mcp-auth

On port 8000. Traefik routes them on `auth.DOMAIN`; what clients look for on the host of a service (everything below `/.well-known/`,
`/register`, `/authorize`, `/token` and what belongs to them) it routes from there, too.

{}
On the private listener (port 9000), which has no route from outside, with the administration token:

{}
{}
## mcp-proxy

On port 3000, behind the guard of Traefik.

{}
On the private listener (port 9000), which has no route from outside:

{}",
        table(&HEAD, PUBLIC.iter().map(row)),
        table(&HEAD, ADMINISTRATION.iter().map(row)),
        "and the same three as below.\n",
        table(
            &HEAD,
            mcp_proxy::routes::ENDPOINTS
                .iter()
                .map(|(path, methods, what, source)| vec![
                    code(path),
                    methods.join(", "),
                    (*what).to_owned(),
                    (*source).to_owned(),
                ])
        ),
        table(
            &["path", "methods", "what it is for"],
            chassis::private::ENDPOINTS
                .iter()
                .map(|(path, what)| vec![code(path), "GET".to_owned(), (*what).to_owned()])
        ),
    )
}

fn row(endpoint: &Endpoint) -> Vec<String> {
    vec![
        // A pattern behind the name of a parameter is for the router alone.
        code(&endpoint.path.replace(":.+}", "}")),
        endpoint.methods.join(", "),
        endpoint.what.to_owned(),
        endpoint.source.to_owned(),
    ]
}
