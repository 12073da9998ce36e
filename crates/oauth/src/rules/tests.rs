use super::*;
use crate::id::Subject;

const LIFETIMES: TokenLifetimes = TokenLifetimes {
    access_token: 3600,
    session: Lifetimes {
        idle: 1000,
        absolute: 2000,
        grace: 120,
    },
};

fn service(name: &str) -> ServiceName {
    ServiceName::parse(name).unwrap()
}

fn sites() -> Sites {
    let services = ["mcp-a", "mcp-b", "mcp-p"].map(service);
    Sites::new("https", "example.com", None, services).unwrap()
}

fn scopes(text: &str) -> ScopeSet {
    ScopeSet::parse(text).unwrap()
}

fn identity(login: &str, organisation: &str) -> Identity {
    let mut identity = Identity::named(Subject::parse("github:1").unwrap(), login);
    identity.memberships.insert(organisation.to_owned(), None);
    identity
}

fn person(rules: &Rules, identity: &Identity) -> Person {
    Person {
        subject: identity.subject.clone(),
        login: identity.login.clone(),
        names: rules.listed_names(identity),
        memberships: rules.listed_memberships(identity).into_keys().collect(),
    }
}

fn rules() -> Rules {
    let people = AccessPolicy::new(&["ann"], &["acme"], &[]);
    Rules::new(sites(), people, LIFETIMES)
}

fn only(people: AccessPolicy) -> ServiceRules {
    ServiceRules {
        people: Some(people),
        ..ServiceRules::default()
    }
}

#[test]
fn a_service_narrows_who_may_use_it_and_never_widens() {
    let to_bob = only(AccessPolicy::new(&["bob", "mona"], &[], &[]));
    let rules = rules().with_service(service("mcp-b"), to_bob);
    let (a, b) = (service("mcp-a"), service("mcp-b"));
    for (login, organisation, at_a, at_b) in [
        ("ann", "x", true, false),
        ("bob", "x", false, false),
        ("mona", "acme", true, true),
        ("joe", "acme", true, false),
    ] {
        let person = person(&rules, &identity(login, organisation));
        for (service, expected) in [(&a, at_a), (&b, at_b)] {
            assert_eq!(rules.admits(&person, service), expected, "{login}");
        }
    }
}

#[test]
fn a_membership_that_either_list_needs_is_what_somebody_rests_on() {
    let members = only(AccessPolicy::new(&[], &["ops"], &[]));
    let rules = rules().with_service(service("mcp-b"), members);
    let (a, b) = (service("mcp-a"), service("mcp-b"));
    for (login, organisation, at_a, at_b) in [
        ("ann", "ops", false, true),
        ("joe", "acme", true, false),
        ("bob", "x", false, false),
    ] {
        let person = person(&rules, &identity(login, organisation));
        for (service, expected) in [(&a, at_a), (&b, at_b)] {
            assert_eq!(
                rules.rests_on_membership(&person, service),
                expected,
                "{login}"
            );
        }
    }
}

#[test]
fn somebody_taken_off_the_list_of_a_service_is_out_of_that_service_only() {
    let (a, b) = (service("mcp-a"), service("mcp-b"));
    let listed = only(AccessPolicy::new(&["ann"], &[], &[]));
    let before = rules().with_service(b.clone(), listed);
    let identity = identity("ann", "x");
    let person = person(&before, &identity);
    assert!(before.admits(&person, &b));
    let unlisted = only(AccessPolicy::new(&["somebody"], &[], &[]));
    let after = rules().with_service(b.clone(), unlisted);
    assert!(!after.admits(&person, &b));
    assert!(after.admits(&person, &a));
}

#[test]
fn an_organisation_of_a_service_alone_makes_memberships_needed_and_remembered() {
    let everybody = Rules::new(sites(), AccessPolicy::new(&["*"], &[], &[]), LIFETIMES);
    assert!(!everybody.needs_memberships());
    let by_team = only(AccessPolicy::new(&[], &["acme"], &["acme/ops"]));
    let rules = everybody.with_service(service("mcp-a"), by_team);
    assert!(rules.needs_memberships());
    let mut identity = identity("ann", "acme");
    for other in ["private", "acme/ops", "acme/other"] {
        identity.memberships.insert(other.to_owned(), None);
    }
    let remembered: Vec<_> = person(&rules, &identity).memberships.into_iter().collect();
    assert_eq!(remembered, ["acme", "acme/ops"]);
}

#[test]
fn a_client_gets_what_the_service_needs_whatever_it_asks_for() {
    let needing = ServiceRules::needing(&scopes("files"));
    let rules = rules().with_service(service("mcp-b"), needing);
    let (a, b) = (service("mcp-a"), service("mcp-b"));
    let registered = scopes("mcp offline_access");
    for (asked, at_a, at_b) in [
        ("", "mcp offline_access", "files mcp offline_access"),
        ("openid", "mcp offline_access", "files mcp offline_access"),
        ("mcp openid", "mcp", "files mcp"),
        (
            "offline_access",
            "mcp offline_access",
            "files mcp offline_access",
        ),
        ("files", "mcp offline_access", "files mcp offline_access"),
    ] {
        let asked = scopes(asked);
        for (service, expected) in [(&a, at_a), (&b, at_b)] {
            let granted = rules.granted_scopes(service, &asked, &registered);
            assert_eq!(granted.to_string(), expected, "{asked} at {service}");
        }
    }
    let without = rules.granted_scopes(&a, &scopes("offline_access"), &scopes("mcp"));
    assert_eq!(without.to_string(), "mcp");
}

#[test]
fn what_is_offered_is_what_the_services_need_and_staying_signed_in() {
    let public = ServiceRules {
        is_public: true,
        ..ServiceRules::needing(&scopes("secret"))
    };
    let rules = rules()
        .with_service(service("mcp-a"), ServiceRules::needing(&scopes("files")))
        .with_service(service("mcp-p"), public);
    assert_eq!(
        rules.offered_scopes().to_string(),
        "files mcp offline_access"
    );
}

#[test]
fn rules_keep_their_services_at_another_address() {
    let running = Sites::new("http", "localhost", Some(8080), [service("mcp-x")]).unwrap();
    let rules = rules().at_address_of(&running);
    let names: Vec<_> = rules.sites().services().map(ServiceName::as_str).collect();
    assert_eq!(names, ["mcp-a", "mcp-b", "mcp-p"]);
    assert_eq!(rules.sites().issuer(), running.issuer());
}

#[test]
fn the_lifetime_of_a_client_counts_before_that_of_the_service() {
    let of_service = LifetimeRules {
        access_token: Some(60),
        idle: Some(70),
        absolute: None,
    };
    let of_client = LifetimeRules {
        access_token: Some(86_400),
        ..LifetimeRules::default()
    };
    let client = ClientId::parse("https://claude.ai/client").unwrap();
    let other = ClientId::parse("other").unwrap();
    let rules = rules()
        .with_service(
            service("mcp-b"),
            ServiceRules {
                lifetimes: of_service,
                ..ServiceRules::default()
            },
        )
        .with_client(client.clone(), of_client);
    let found = |service_name: &str, client: &ClientId| {
        let found = rules.lifetimes(&service(service_name), client);
        let session = found.session;
        (found.access_token, session.idle, session.absolute)
    };
    assert_eq!(found("mcp-a", &other), (3600, 1000, 2000));
    assert_eq!(found("mcp-b", &other), (60, 70, 2000));
    assert_eq!(found("mcp-b", &client), (86_400, 70, 2000));
    assert_eq!(rules.longest_access_token(), 86_400);
}
