use serde::Serialize;

/// How the text of an environment variable becomes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The text as it is. Also for enums and URLs: the configuration's type checks them.
    Text,
    /// A whole number.
    Integer,
    /// `true`, `yes`, `on`, `1` or `false`, `no`, `off`, `0`.
    Boolean,
    /// A length of time in whole seconds.
    Seconds,
    /// Parts between commas; space around a part and empty parts are dropped. Accepted as a file through `VARIABLE_FILE`, where
    /// lines separate parts too; an empty file is an empty list.
    List,
}

/// One environment variable and the key of the configuration that it sets.
///
/// A binary keeps all of its settings in one constant table; errors, the `config` command, the reference and `.env.example` are
/// written from it.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The name operators use: `ACCESS_TOKEN_LIFETIME`.
    pub variable: &'static str,
    /// Other names it is known by. Two names with different values are an error.
    pub aliases: &'static [&'static str],
    /// Where it stands in the configuration struct, dotted: `tokens.access_lifetime`.
    pub key: &'static str,
    /// How its text is read.
    pub kind: Kind,
    /// Hidden in every output, and accepted as a file through `VARIABLE_FILE`.
    pub secret: bool,
    /// What a number counts: `seconds`, `bytes`, `per minute`. Empty if `help` says it, or if it is no number.
    pub unit: &'static str,
    /// The service cannot start without it.
    pub required: bool,
    /// One sentence: what it is for.
    pub help: &'static str,
    /// One sentence: how to get a right value. Empty if `help` says enough.
    pub how_to_get: &'static str,
    /// A right value, for `.env.example`. Empty if the default shows it.
    pub example: &'static str,
}

impl Setting {
    const fn new(
        variable: &'static str,
        key: &'static str,
        kind: Kind,
        help: &'static str,
    ) -> Self {
        Self {
            variable,
            aliases: &[],
            key,
            kind,
            secret: false,
            unit: match kind {
                Kind::Seconds => "seconds",
                _ => "",
            },
            required: false,
            help,
            how_to_get: "",
            example: "",
        }
    }

    /// A setting of [`Kind::Text`].
    #[must_use]
    pub const fn text(variable: &'static str, key: &'static str, help: &'static str) -> Self {
        Self::new(variable, key, Kind::Text, help)
    }

    /// A setting of [`Kind::Integer`].
    #[must_use]
    pub const fn integer(variable: &'static str, key: &'static str, help: &'static str) -> Self {
        Self::new(variable, key, Kind::Integer, help)
    }

    /// A setting of [`Kind::Boolean`].
    #[must_use]
    pub const fn boolean(variable: &'static str, key: &'static str, help: &'static str) -> Self {
        Self::new(variable, key, Kind::Boolean, help)
    }

    /// A setting of [`Kind::Seconds`].
    #[must_use]
    pub const fn seconds(variable: &'static str, key: &'static str, help: &'static str) -> Self {
        Self::new(variable, key, Kind::Seconds, help)
    }

    /// A setting of [`Kind::List`].
    #[must_use]
    pub const fn list(variable: &'static str, key: &'static str, help: &'static str) -> Self {
        Self::new(variable, key, Kind::List, help)
    }

    /// Accepts these names of the variable too.
    #[must_use]
    pub const fn alias(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Hides the value and accepts `VARIABLE_FILE`.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Says what the number counts.
    #[must_use]
    pub const fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    /// Makes its absence an error.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Says how to get a right value; a whole sentence.
    #[must_use]
    pub const fn how(mut self, how_to_get: &'static str) -> Self {
        self.how_to_get = how_to_get;
        self
    }

    /// Gives an example for `.env.example`.
    #[must_use]
    pub const fn example(mut self, example: &'static str) -> Self {
        self.example = example;
        self
    }

    /// Whether `VARIABLE_FILE` may name a file with the value: for secrets, and for lists, which may change while a service runs.
    pub(super) fn takes_file(&self) -> bool {
        self.secret || self.kind == Kind::List
    }

    /// The files from which `VARIABLE_FILE` takes the value at present, for those who watch them.
    pub fn files<'a>(
        &self,
        environment: &'a super::Environment,
    ) -> impl Iterator<Item = &'a std::path::Path> {
        self.names()
            .filter(|_| self.takes_file())
            .filter_map(|variable| environment.get(&format!("{variable}_FILE")))
            .map(std::path::Path::new)
    }

    /// The variable and its aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.variable).chain(self.aliases.iter().copied())
    }

    /// The sentence that tells the reader of an error what to do.
    pub(super) fn remedy(&self) -> &'static str {
        if self.how_to_get.is_empty() {
            self.help
        } else {
            self.how_to_get
        }
    }
}
