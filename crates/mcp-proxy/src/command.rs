//! What is started for whom: the configured command with its placeholders, and the command of one person.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::child::Command;
use crate::identity::Identity;
use crate::resources::ResourceLimits;
use crate::template::Template;

/// The configured command. No byte of a request reaches it but the identity that the gateway vouches for, and only where a
/// placeholder stands (see [`crate::template`]).
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// The program, a path or a name on the child's `PATH`.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<Template>,
    /// Its whole environment.
    pub environment: Vec<(String, Template)>,
    /// What it may use of the machine.
    pub resources: ResourceLimits,
    /// See [`Command::guard`].
    pub guard: PathBuf,
}

impl CommandLine {
    /// Does it differ from person to person?
    #[must_use]
    pub fn names_person(&self) -> bool {
        self.arguments
            .iter()
            .chain(self.environment.iter().map(|(_, value)| value))
            .any(Template::names_person)
    }

    /// The command for one person; `None` stands for a process that belongs to nobody.
    #[must_use]
    pub fn render(&self, person: Option<&Identity>) -> Command {
        Command {
            program: self.program.clone(),
            arguments: self
                .arguments
                .iter()
                .map(|argument| argument.render(person).into())
                .collect(),
            environment: self
                .environment
                .iter()
                .map(|(name, value)| (name.into(), value.render(person).into()))
                .collect(),
            resources: self.resources,
            guard: self.guard.clone(),
        }
    }
}
