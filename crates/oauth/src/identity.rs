//! Who somebody is, as told by an identity provider, and who may come in.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::Subject;
use crate::session::Person;

/// A person as an identity provider describes them.
#[derive(Debug, Clone)]
pub struct Identity {
    /// `provider:id` with the provider's own unchanging id, not the name.
    pub subject: Subject,
    /// The name to show, which its owner may change and somebody else may take.
    pub login: String,
    /// The names by which a list may know them; the provider vouches for each.
    pub names: BTreeSet<String>,
    /// Organisations, teams as `organisation/team`, or groups, each with what it is for ever, if the provider tells: a name
    /// can be given up and taken by others.
    pub memberships: BTreeMap<String, Option<Subject>>,
    /// The provider does not promise that the login is nobody else's: people may choose it themselves.
    pub login_is_chosen: bool,
}

impl Identity {
    /// Somebody who is known by one name and is a member of nothing.
    #[must_use]
    pub fn named(subject: Subject, login: &str) -> Self {
        Self {
            subject,
            login: login.to_owned(),
            names: BTreeSet::from([login.to_owned()]),
            memberships: BTreeMap::new(),
            login_is_chosen: false,
        }
    }
}

/// What the entry of a list begins with that means a subject of OpenID Connect, so that nobody's login can look like one.
pub const SUBJECT_ENTRY: &str = "sub:";

/// How the names of a list are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Spelling {
    /// Without regard to case, as GitHub does.
    #[default]
    AnyCase,
    /// To the letter (OpenID Connect Core section 2 says so of `sub`); only e-mail addresses without regard to case.
    Exact,
}

/// Who may come in. Space around names does not count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessPolicy {
    spelling: Spelling,
    everybody: bool,
    users: BTreeSet<String>,
    memberships: BTreeSet<String>,
}

impl AccessPolicy {
    /// Builds the policy from lists; `*` among the users admits everybody.
    pub fn new<S: AsRef<str>>(users: &[S], organisations: &[S], teams: &[S]) -> Self {
        Self::spelled(Spelling::AnyCase, users, organisations, teams)
    }

    /// The same with another way to compare names.
    pub fn spelled<S: AsRef<str>>(
        spelling: Spelling,
        users: &[S],
        organisations: &[S],
        teams: &[S],
    ) -> Self {
        let names = |list: &[S]| -> BTreeSet<String> {
            list.iter()
                .map(|name| spelling.fold(name.as_ref()))
                .filter(|name| !name.is_empty())
                .collect()
        };
        let mut users = names(users);
        let mut memberships = names(organisations);
        memberships.append(&mut names(teams));
        Self {
            spelling,
            everybody: users.remove("*"),
            users,
            memberships,
        }
    }

    /// Another policy whose names are compared in the same way.
    #[must_use]
    pub fn alike<S: AsRef<str>>(&self, users: &[S], memberships: &[S]) -> Self {
        Self::spelled(self.spelling, users, memberships, &[])
    }

    /// Whether the policy admits nobody at all, which is a mistake in the configuration.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.everybody && self.users.is_empty() && self.memberships.is_empty()
    }

    /// Whether memberships must be asked of the provider.
    #[must_use]
    pub fn needs_memberships(&self) -> bool {
        !self.memberships.is_empty()
    }

    /// The names of this person that stand on the list. The caller must still see to it that each belongs to the same person
    /// as before.
    #[must_use]
    pub fn listed_names(&self, identity: &Identity) -> BTreeSet<String> {
        let folded = identity.names.iter().map(|name| self.spelling.fold(name));
        folded.filter(|name| self.users.contains(name)).collect()
    }

    /// The memberships of this person that stand on the list, each with what it is for ever, of which the same must be seen
    /// to.
    #[must_use]
    pub fn listed_memberships(&self, identity: &Identity) -> BTreeMap<String, Option<Subject>> {
        let all = identity.memberships.iter();
        all.map(|(name, owner)| (self.spelling.fold(name), owner.clone()))
            .filter(|(name, _)| self.memberships.contains(name))
            .collect()
    }

    /// Whether somebody comes in, by what was found to be theirs when they signed in. The provider is not asked, so a list
    /// that has changed since counts.
    #[must_use]
    pub fn admits(&self, person: &Person) -> bool {
        self.admits_without_membership(person)
            || (!person.subject.is_client() && !self.memberships.is_disjoint(&person.memberships))
    }

    /// The same, leaving memberships aside: they end without our being told.
    #[must_use]
    pub fn admits_without_membership(&self, person: &Person) -> bool {
        let is_listed = self.everybody || !self.users.is_disjoint(&person.names);
        is_listed && !person.subject.is_client()
    }
}

impl Spelling {
    fn fold(self, name: &str) -> String {
        let name = name.trim();
        let is_address = name.contains('@') && !name.starts_with(SUBJECT_ENTRY);
        if self == Self::AnyCase || is_address {
            name.to_lowercase()
        } else {
            name.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(policy: &AccessPolicy, login: &str, organisation: &str) -> Person {
        let mut identity = Identity::named(Subject::parse("github:1").unwrap(), login);
        identity.memberships.insert(organisation.to_owned(), None);
        Person {
            subject: identity.subject.clone(),
            login: login.to_owned(),
            names: policy.listed_names(&identity),
            memberships: policy.listed_memberships(&identity).into_keys().collect(),
        }
    }

    fn admits(policy: &AccessPolicy, login: &str, organisation: &str) -> bool {
        policy.admits(&person(policy, login, organisation))
    }

    #[test]
    fn nobody_comes_in_by_an_empty_list() {
        let policy = AccessPolicy::new::<&str>(&[], &["", " "], &[]);
        assert!(policy.is_empty());
        assert!(AccessPolicy::spelled::<&str>(Spelling::Exact, &[], &[], &[]).is_empty());
        assert!(!admits(&policy, "octocat", "x"));
    }

    #[test]
    fn names_fold_and_everybody_is_an_explicit_word() {
        let policy = AccessPolicy::new(&[" OctoCat "], &[], &[]);
        assert!(admits(&policy, "octocat", "x"));
        assert!(!admits(&policy, "octocat2", "x"));
        let open = AccessPolicy::new(&["*"], &[], &[]);
        assert!(admits(&open, "anybody", "x"));
        assert!(!open.is_empty());
    }

    #[test]
    fn an_organisation_admits_its_members() {
        let policy = AccessPolicy::new(&[], &["Acme"], &[]);
        assert!(admits(&policy, "x", "acme"));
        assert!(!admits(&policy, "x", "other"));
        assert!(!policy.admits_without_membership(&person(&policy, "x", "acme")));
    }

    #[test]
    fn a_name_taken_off_the_list_is_out_even_while_organisations_admit_others() {
        let both = AccessPolicy::new(&["octocat"], &["acme"], &[]);
        let octocat = person(&both, "octocat", "other");
        let member = person(&both, "mona", "acme");
        assert!(both.admits(&octocat) && both.admits(&member));
        let without_octocat = AccessPolicy::new(&["somebody"], &["acme"], &[]);
        assert!(!without_octocat.admits(&octocat));
        let without_acme = AccessPolicy::new(&["octocat"], &[], &[]);
        assert!(!without_acme.admits(&member));
    }

    #[test]
    fn who_came_by_one_organisation_is_not_kept_by_another() {
        let member = person(&AccessPolicy::new(&[], &["acme"], &[]), "mona", "acme");
        assert!(!AccessPolicy::new(&[], &["other"], &[]).admits(&member));
    }

    #[test]
    fn who_came_when_everybody_could_is_out_when_only_some_may() {
        let open = AccessPolicy::new(&["*"], &[], &[]);
        let anybody = person(&open, "mona", "acme");
        assert!(open.admits_without_membership(&anybody));
        assert!(!AccessPolicy::new(&["mona"], &["acme"], &[]).admits(&anybody));
    }

    #[test]
    fn a_client_is_nobody() {
        let open = AccessPolicy::new(&["*"], &[], &[]);
        let mut machine = person(&open, "x", "x");
        machine.subject = Subject::of_client(&crate::ClientId::parse("ci").unwrap()).unwrap();
        assert!(!open.admits(&machine));
    }

    #[test]
    fn exact_lists_tell_case_apart_except_in_addresses() {
        let users = ["AbC", "Ann@Example.com", "sub:X@y"];
        let policy = AccessPolicy::spelled(Spelling::Exact, &users, &["Admins"], &[]);
        for (login, group, expected) in [
            ("AbC", "x", true),
            ("abc", "x", false),
            ("ann@example.com", "x", true),
            ("sub:X@y", "x", true),
            ("sub:x@y", "x", false),
            ("x", "Admins", true),
            ("x", "admins", false),
        ] {
            assert_eq!(admits(&policy, login, group), expected, "{login} {group}");
        }
    }
}
