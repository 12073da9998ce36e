//! Who somebody is, as told by an identity provider, and who may come in.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::id::Subject;
use crate::session::Person;

/// Most memberships of a person that are remembered in a session, organisations and teams each.
const MOST_MEMBERSHIPS: usize = 100;

/// A person as an identity provider describes them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Identity {
    /// `provider:id` with the provider's own unchanging id, not the name.
    pub subject: Subject,
    /// The name, which its owner may change and somebody else may take.
    pub login: String,
    /// Organisations, in lower case.
    pub organisations: BTreeSet<String>,
    /// Teams as `organisation/team`, in lower case.
    pub teams: BTreeSet<String>,
}

impl Identity {
    /// What of it goes into sessions. Of the memberships those are remembered that `is_listed` finds on some list: they are
    /// held against the lists later, when nobody can ask the provider. At most 100 organisations and 100 teams.
    #[must_use]
    pub fn person(&self, admission: Admission, is_listed: impl Fn(&str) -> bool) -> Person {
        let listed = |names: &BTreeSet<String>| {
            names
                .iter()
                .filter(|name| is_listed(name))
                .take(MOST_MEMBERSHIPS)
                .cloned()
                .collect()
        };
        Person {
            subject: self.subject.clone(),
            login: self.login.clone(),
            admission,
            organisations: listed(&self.organisations),
            teams: listed(&self.teams),
        }
    }
}

/// Who may come in. Names are compared without regard to case and surrounding space, as GitHub does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessPolicy {
    everybody: bool,
    users: BTreeSet<String>,
    organisations: BTreeSet<String>,
    teams: BTreeSet<String>,
}

/// How somebody comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// The name is on the list: the caller must still see to it that the name belongs to the same person as before.
    ByName,
    /// By an organisation, a team, or because everybody may.
    ByMembership,
    /// Not at all.
    Refused,
}

impl AccessPolicy {
    /// Builds the policy from lists; `*` among the users admits everybody.
    pub fn new<S: AsRef<str>>(users: &[S], organisations: &[S], teams: &[S]) -> Self {
        let names = |list: &[S]| -> BTreeSet<String> {
            list.iter()
                .map(|name| fold(name.as_ref()))
                .filter(|name| !name.is_empty())
                .collect()
        };
        let mut users = names(users);
        Self {
            everybody: users.remove("*"),
            users,
            organisations: names(organisations),
            teams: names(teams),
        }
    }

    /// Whether the policy admits nobody at all, which is a mistake in the configuration.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether memberships must be asked of the provider.
    #[must_use]
    pub fn needs_memberships(&self) -> bool {
        !self.organisations.is_empty() || !self.teams.is_empty()
    }

    /// Whether and how this person comes in.
    #[must_use]
    pub fn admits(&self, identity: &Identity) -> Admission {
        if self.users.contains(&fold(&identity.login)) {
            return Admission::ByName;
        }
        let by_organisation = !self.organisations.is_disjoint(&identity.organisations);
        let by_team = !self.teams.is_disjoint(&identity.teams);
        if self.everybody || by_organisation || by_team {
            Admission::ByMembership
        } else {
            Admission::Refused
        }
    }

    /// Whether somebody who came in earlier still would, without asking the provider: by a name that was found to be theirs,
    /// or by a membership that they had when they signed in.
    #[must_use]
    pub fn still_admits(&self, person: &Person) -> bool {
        if person.admission == Admission::Refused {
            return false;
        }
        let is_theirs = person.admission == Admission::ByName;
        let by_name = is_theirs && self.users.contains(&fold(&person.login));
        let by_organisation = !self.organisations.is_disjoint(&person.organisations);
        let by_team = !self.teams.is_disjoint(&person.teams);
        self.everybody || by_name || by_organisation || by_team
    }

    /// Whether an organisation or a team (`organisation/team`) of this name is on the list.
    #[must_use]
    pub fn lists_membership(&self, name: &str) -> bool {
        self.organisations.contains(name) || self.teams.contains(name)
    }
}

fn fold(name: &str) -> String {
    name.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(login: &str, organisation: &str) -> Identity {
        Identity {
            subject: Subject::parse("github:1").unwrap(),
            login: login.to_owned(),
            organisations: BTreeSet::from([organisation.to_owned()]),
            teams: BTreeSet::new(),
        }
    }

    #[test]
    fn nobody_comes_in_by_an_empty_list() {
        let policy = AccessPolicy::new::<&str>(&[], &["", " "], &[]);
        assert!(policy.is_empty());
        assert_eq!(policy.admits(&identity("octocat", "x")), Admission::Refused);
    }

    #[test]
    fn names_fold_and_everybody_is_an_explicit_word() {
        let policy = AccessPolicy::new(&[" OctoCat "], &[], &[]);
        assert_eq!(policy.admits(&identity("octocat", "x")), Admission::ByName);
        assert_eq!(
            policy.admits(&identity("octocat2", "x")),
            Admission::Refused
        );
        let open = AccessPolicy::new(&["*"], &[], &[]);
        assert_eq!(
            open.admits(&identity("anybody", "x")),
            Admission::ByMembership
        );
        assert!(!open.is_empty());
    }

    #[test]
    fn an_organisation_admits_its_members() {
        let policy = AccessPolicy::new(&[], &["Acme"], &[]);
        assert_eq!(
            policy.admits(&identity("x", "acme")),
            Admission::ByMembership
        );
        assert_eq!(policy.admits(&identity("x", "other")), Admission::Refused);
    }

    #[test]
    fn a_name_taken_off_the_list_is_out_even_while_organisations_admit_others() {
        let both = AccessPolicy::new(&["octocat"], &["acme"], &[]);
        let listed = |name: &str| both.lists_membership(name);
        let octocat = identity("octocat", "other").person(Admission::ByName, listed);
        let member = identity("mona", "acme").person(Admission::ByMembership, listed);
        assert!(octocat.organisations.is_empty());
        assert!(both.still_admits(&octocat) && both.still_admits(&member));
        let without_octocat = AccessPolicy::new(&["somebody"], &["acme"], &[]);
        assert!(!without_octocat.still_admits(&octocat));
        let without_acme = AccessPolicy::new(&["octocat"], &[], &[]);
        assert!(!without_acme.still_admits(&member));
    }

    #[test]
    fn a_member_is_out_when_the_organisation_is_taken_off_although_another_is_listed() {
        let acme = AccessPolicy::new(&[], &["acme"], &[]);
        let member = identity("mona", "acme")
            .person(Admission::ByMembership, |name| acme.lists_membership(name));
        assert!(acme.still_admits(&member));
        assert!(!AccessPolicy::new(&[], &["other"], &[]).still_admits(&member));
        assert!(AccessPolicy::new(&["*"], &[], &[]).still_admits(&member));
    }

    #[test]
    fn a_listed_name_counts_only_for_somebody_whom_it_was_found_to_belong_to() {
        let list = AccessPolicy::new(&["octocat"], &[], &[]);
        let octocat = identity("octocat", "acme");
        let pinned = octocat.person(Admission::ByName, |_| false);
        let not_pinned = octocat.person(Admission::ByMembership, |_| false);
        let refused = octocat.person(Admission::Refused, |_| false);
        assert!(list.still_admits(&pinned));
        assert!(!list.still_admits(&not_pinned));
        assert!(!AccessPolicy::new(&["*"], &[], &[]).still_admits(&refused));
    }
}
