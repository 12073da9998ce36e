//! What one process of an MCP server may use of the machine, kept by the system (`setrlimit(2)`).
//!
//! The limits are set by the process itself in the moment before it becomes the MCP server (see [`crate::guard`]), so
//! there is no time in which it runs without them, and what it starts inherits them. They are those of one process: what
//! a server and everything it starts use together is the matter of the container around them.

use std::fmt;
use std::str::FromStr;

use rustix::io;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// The limits; what is not set stays as the service itself has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResourceLimits {
    /// Bytes of memory that the process may fill with its own data (`RLIMIT_DATA`). Address space that is only reserved
    /// does not count, so runtimes that reserve a lot (Node) can be limited, too.
    pub memory_bytes: Option<u64>,
    /// Open file descriptors (`RLIMIT_NOFILE`).
    pub open_files: Option<u64>,
    /// Processes and threads of the user that the service runs as (`RLIMIT_NPROC`): counted over everything that this
    /// user runs, and not at all for root.
    pub processes: Option<u64>,
    /// Seconds of processor time, after which the process is ended (`RLIMIT_CPU`).
    pub cpu_seconds: Option<u64>,
}

/// The text is no [`ResourceLimits`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no list of resource limits")]
pub struct NotLimits(String);

impl ResourceLimits {
    /// Puts this process under the limits, and under one more: no core files, which would hold people's data.
    pub fn apply(&self) -> io::Result<()> {
        let limits = [
            (Resource::Core, Some(0)),
            (Resource::Data, self.memory_bytes),
            (Resource::Nofile, self.open_files),
            (Resource::Nproc, self.processes),
            (Resource::Cpu, self.cpu_seconds),
        ];
        for (resource, wanted) in limits {
            let Some(wanted) = wanted else { continue };
            // A limit above the present one is no request for more.
            let limit = match getrlimit(resource).maximum {
                Some(most) => wanted.min(most),
                None => wanted,
            };
            setrlimit(
                resource,
                Rlimit {
                    current: Some(limit),
                    maximum: Some(limit),
                },
            )?;
        }
        Ok(())
    }
}

/// Four numbers with commas between, in the order of the fields; nothing stands for no limit.
impl fmt::Display for ResourceLimits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            self.memory_bytes,
            self.open_files,
            self.processes,
            self.cpu_seconds,
        ];
        for (index, limit) in all.into_iter().enumerate() {
            if index > 0 {
                formatter.write_str(",")?;
            }
            if let Some(limit) = limit {
                write!(formatter, "{limit}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for ResourceLimits {
    type Err = NotLimits;

    fn from_str(text: &str) -> Result<Self, NotLimits> {
        let wrong = || NotLimits(text.to_owned());
        let all: Vec<Option<u64>> = text
            .split(',')
            .map(|part| match part {
                "" => Ok(None),
                part => part.parse().map(Some).map_err(|_| wrong()),
            })
            .collect::<Result<_, _>>()?;
        let [memory_bytes, open_files, processes, cpu_seconds] =
            <[Option<u64>; 4]>::try_from(all).map_err(|_| wrong())?;
        Ok(Self {
            memory_bytes,
            open_files,
            processes,
            cpu_seconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_they_are_written() {
        let some = ResourceLimits {
            memory_bytes: Some(1 << 30),
            open_files: None,
            processes: Some(64),
            cpu_seconds: None,
        };
        assert_eq!(some.to_string(), "1073741824,,64,");
        for limits in [some, ResourceLimits::default()] {
            assert_eq!(limits.to_string().parse(), Ok(limits));
        }
        for wrong in ["", "1,2,3", "1,2,3,4,5", "-1,,,", "a,,,"] {
            assert!(wrong.parse::<ResourceLimits>().is_err(), "{wrong}");
        }
    }
}
