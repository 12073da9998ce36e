//! How many connections and files a service may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Takes as many file descriptors as the system grants this process.
///
/// The soft limit that a login or a container begins with is often 1024, for old programs that use `select(2)`; each connection
/// of a service is one. A limit that the operator means is the hard one, and it is kept. What the process starts inherits the
/// new limit.
///
/// # Errors
///
/// If the system refuses; the limit is then as it was.
pub fn allow_most() -> std::io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    )?;
    Ok(())
}
