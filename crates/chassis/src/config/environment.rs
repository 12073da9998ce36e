use std::collections::BTreeMap;
use std::fmt;

/// The environment of a process as a value: services take it as an argument, tests write it down.
#[derive(Clone, Default)]
pub struct Environment {
    /// `None` is a value that is not UTF-8: known to be set, never guessed at.
    variables: BTreeMap<String, Option<String>>,
}

impl Environment {
    /// Reads the environment of this process. The only place of the workspace that does.
    ///
    /// Variables whose name is not UTF-8 are left out: no setting has such a name.
    #[must_use]
    pub fn from_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok())))
            .collect();
        Self { variables }
    }

    /// An environment of exactly these variables.
    #[must_use]
    pub fn from_pairs<K: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let variables = pairs
            .into_iter()
            .map(|(name, value)| (name.into(), Some(value.into())))
            .collect();
        Self { variables }
    }

    /// The value of a variable. A variable set to nothing counts as not set, because Compose passes `VARIABLE=` for every
    /// variable that its `.env` leaves out.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)?
            .as_deref()
            .filter(|value| !value.is_empty())
    }

    /// Whether the variable is set to something that is not UTF-8.
    #[must_use]
    pub fn is_not_text(&self, name: &str) -> bool {
        matches!(self.variables.get(name), Some(None))
    }

    /// Names of all variables, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }
}

/// Shows names only: any value may be a secret.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}
