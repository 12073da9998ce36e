//! The operator's rules: which services there are, who may use which, which scopes a service needs, how long tokens live, and
//! which clients the operator created. One value that is replaced whole when the configuration changes.

use std::collections::{BTreeMap, BTreeSet};

use crate::client::Client;
use crate::id::{ClientId, ServiceName, Subject};
use crate::identity::{AccessPolicy, Identity};
use crate::scope::{self, ScopeSet};
use crate::session::{Lifetimes, Person};
use crate::site::Sites;

/// Most memberships of a person that are remembered in a session.
const MOST_MEMBERSHIPS: usize = 100;

/// Lifetimes of the tokens of one session, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct TokenLifetimes {
    /// An access token ends after this.
    pub access_token: u64,
    /// Refresh tokens and the session as a whole.
    pub session: Lifetimes,
}

/// Lifetimes that a service or a client has instead of the general ones, in seconds; `None` leaves the general one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LifetimeRules {
    /// Instead of [`TokenLifetimes::access_token`].
    pub access_token: Option<u64>,
    /// Instead of [`Lifetimes::idle`].
    pub idle: Option<u64>,
    /// Instead of [`Lifetimes::absolute`].
    pub absolute: Option<u64>,
}

impl LifetimeRules {
    fn over(self, general: TokenLifetimes) -> TokenLifetimes {
        TokenLifetimes {
            access_token: self.access_token.unwrap_or(general.access_token),
            session: Lifetimes {
                idle: self.idle.unwrap_or(general.session.idle),
                absolute: self.absolute.unwrap_or(general.session.absolute),
                grace: general.session.grace,
            },
        }
    }
}

/// The rules of one service.
#[derive(Debug, Clone)]
pub struct ServiceRules {
    /// Who of those who may come in at all may use it; `None` is all of them.
    pub people: Option<AccessPolicy>,
    /// The scopes that a token needs to open it; always with [`scope::MCP`].
    needs: ScopeSet,
    /// Its own lifetimes.
    pub lifetimes: LifetimeRules,
    /// It needs no token, and nothing of OAuth is told about it.
    pub is_public: bool,
}

impl ServiceRules {
    /// Rules of a service that needs these scopes besides [`scope::MCP`].
    #[must_use]
    pub fn needing(scopes: &ScopeSet) -> Self {
        Self {
            people: None,
            needs: scopes.union(&ScopeSet::of(scope::MCP)),
            lifetimes: LifetimeRules::default(),
            is_public: false,
        }
    }
}

impl Default for ServiceRules {
    fn default() -> Self {
        Self::needing(&ScopeSet::default())
    }
}

/// All rules.
#[derive(Debug, Clone)]
pub struct Rules {
    sites: Sites,
    people: AccessPolicy,
    lifetimes: TokenLifetimes,
    services: BTreeMap<ServiceName, ServiceRules>,
    clients: BTreeMap<ClientId, LifetimeRules>,
    operators: BTreeMap<ClientId, Client>,
    /// For services without rules of their own.
    plain: ServiceRules,
}

impl Rules {
    /// Rules by which `people` may use every service of `sites`, with these lifetimes.
    #[must_use]
    pub fn new(sites: Sites, people: AccessPolicy, lifetimes: TokenLifetimes) -> Self {
        Self {
            sites,
            people,
            lifetimes,
            services: BTreeMap::new(),
            clients: BTreeMap::new(),
            operators: BTreeMap::new(),
            plain: ServiceRules::default(),
        }
    }

    /// The same rules at another public address: the services stay.
    #[must_use]
    pub fn at_address_of(mut self, sites: &Sites) -> Self {
        self.sites = sites.with_services(self.sites.services().cloned());
        self
    }

    /// With rules for a service.
    #[must_use]
    pub fn with_service(mut self, name: ServiceName, rules: ServiceRules) -> Self {
        self.services.insert(name, rules);
        self
    }

    /// With lifetimes for a client; they count before those of the service.
    #[must_use]
    pub fn with_client(mut self, id: ClientId, lifetimes: LifetimeRules) -> Self {
        self.clients.insert(id, lifetimes);
        self
    }

    /// With a client that the operator lists in the configuration.
    #[must_use]
    pub fn with_operator_client(mut self, client: Client) -> Self {
        self.operators.insert(client.id.clone(), client);
        self
    }

    /// The services that there are, and their hosts.
    #[must_use]
    pub const fn sites(&self) -> &Sites {
        &self.sites
    }

    /// A client that the operator lists in the configuration.
    #[must_use]
    pub fn operator_client(&self, id: &ClientId) -> Option<&Client> {
        self.operators.get(id)
    }

    /// Who may come in at all.
    #[must_use]
    pub const fn people(&self) -> &AccessPolicy {
        &self.people
    }

    /// The rules of a service.
    #[must_use]
    pub fn service(&self, name: &ServiceName) -> &ServiceRules {
        self.services.get(name).unwrap_or(&self.plain)
    }

    /// Whether a service needs no token.
    #[must_use]
    pub fn is_public(&self, service: &ServiceName) -> bool {
        self.service(service).is_public
    }

    /// Whether any service needs no token.
    #[must_use]
    pub fn has_public_services(&self) -> bool {
        self.services.values().any(|rules| rules.is_public)
    }

    /// The scopes that a token needs to open the service.
    #[must_use]
    pub fn needed_scopes(&self, service: &ServiceName) -> &ScopeSet {
        &self.service(service).needs
    }

    /// All scopes that clients may have: what the services need, and [`scope::OFFLINE_ACCESS`].
    #[must_use]
    pub fn offered_scopes(&self) -> ScopeSet {
        let always = ScopeSet::of(scope::MCP).union(&ScopeSet::of(scope::OFFLINE_ACCESS));
        self.sites
            .services()
            .filter(|service| !self.is_public(service))
            .fold(always, |all, service| {
                all.union(self.needed_scopes(service))
            })
    }

    /// The scopes that a client gets for a service: always all that the service needs, because a token with fewer opens
    /// nothing and few clients can ask again for more; and of the others those that it asked for, or registered for if it
    /// asked for nothing that is to be had.
    #[must_use]
    pub fn granted_scopes(
        &self,
        service: &ServiceName,
        asked: &ScopeSet,
        registered: &ScopeSet,
    ) -> ScopeSet {
        let needed = self.needed_scopes(service);
        let offered = needed
            .union(&ScopeSet::of(scope::OFFLINE_ACCESS))
            .intersection(registered);
        let chosen = asked.intersection(&offered);
        let chosen = if chosen.is_empty() { offered } else { chosen };
        needed.union(&chosen)
    }

    /// The lifetimes of a session of this client with this service.
    #[must_use]
    pub fn lifetimes(&self, service: &ServiceName, client: &ClientId) -> TokenLifetimes {
        let by_service = self.service(service).lifetimes.over(self.lifetimes);
        match self.clients.get(client) {
            Some(rules) => rules.over(by_service),
            None => by_service,
        }
    }

    /// The longest life of any access token, in seconds: as long as what ended one must be remembered, and as a retired
    /// signing key must be published.
    #[must_use]
    pub fn longest_access_token(&self) -> u64 {
        let of_services = self.services.values().map(|rules| rules.lifetimes);
        of_services
            .chain(self.clients.values().copied())
            .filter_map(|rules| rules.access_token)
            .fold(self.lifetimes.access_token, u64::max)
    }

    /// Whether somebody may use a service, by what was found to be theirs when they signed in.
    #[must_use]
    pub fn admits(&self, person: &Person, service: &ServiceName) -> bool {
        let narrower = self.service(service).people.as_ref();
        self.people.admits(person) && narrower.is_none_or(|people| people.admits(person))
    }

    /// Whether somebody may use a service only as a member of an organisation, team or group.
    #[must_use]
    pub fn rests_on_membership(&self, person: &Person, service: &ServiceName) -> bool {
        let narrower = self.service(service).people.as_ref();
        let without = self.people.admits_without_membership(person)
            && narrower.is_none_or(|people| people.admits_without_membership(person));
        self.admits(person, service) && !without
    }

    /// The names of an identity that stand on any list.
    #[must_use]
    pub fn listed_names(&self, identity: &Identity) -> BTreeSet<String> {
        let of_lists = self.lists().map(|people| people.listed_names(identity));
        of_lists.flatten().collect()
    }

    /// The memberships of an identity that stand on any list, each with what it is for ever. At most 100: they are kept in
    /// sessions.
    #[must_use]
    pub fn listed_memberships(&self, identity: &Identity) -> BTreeMap<String, Option<Subject>> {
        let of_lists = self
            .lists()
            .map(|people| people.listed_memberships(identity));
        of_lists.flatten().take(MOST_MEMBERSHIPS).collect()
    }

    /// Whether memberships must be asked of the identity provider.
    #[must_use]
    pub fn needs_memberships(&self) -> bool {
        self.lists().any(AccessPolicy::needs_memberships)
    }

    fn lists(&self) -> impl Iterator<Item = &AccessPolicy> {
        let of_services = self.services.values();
        std::iter::once(&self.people).chain(of_services.filter_map(|rules| rules.people.as_ref()))
    }
}

#[cfg(test)]
mod tests;
