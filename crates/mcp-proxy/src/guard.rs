//! The moment between this program and a child: what only the new process can do for itself.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;

use rustix::process::{Pid, Signal};

use crate::resources::ResourceLimits;

/// The hidden subcommand of [`run`].
pub const SUBCOMMAND: &str = "exec-child";

/// `mcp-proxy exec-child PARENT LIMITS PROGRAM ARGS…`: asks the system to kill this process when the thread that started
/// it ends (`prctl(2)`, `PR_SET_PDEATHSIG`; it survives `execve`), puts itself under the [`ResourceLimits`], then becomes
/// the program. Only returns on failure.
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> io::Error {
    let parent = arguments
        .next()
        .and_then(|text| text.to_str()?.parse::<u32>().ok());
    let limits = arguments
        .next()
        .and_then(|text| text.to_str()?.parse::<ResourceLimits>().ok());
    let (Some(limits), Some(program)) = (limits, arguments.next()) else {
        return io::Error::new(io::ErrorKind::InvalidInput, "this subcommand is internal");
    };
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    // The parent may have died before the line above took effect.
    let now = rustix::process::getppid()
        .map(Pid::as_raw_nonzero)
        .map(|pid| pid.get().unsigned_abs());
    if now != parent {
        return io::Error::other("the process that started this one is gone");
    }
    if let Err(error) = limits.apply() {
        let error = io::Error::from(error);
        return io::Error::new(
            error.kind(),
            format!("cannot set the limits of the MCP server: {error}"),
        );
    }
    let error = std::process::Command::new(&program).args(arguments).exec();
    io::Error::new(
        error.kind(),
        format!("cannot run {}: {error}", program.to_string_lossy()),
    )
}
