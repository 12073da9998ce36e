use super::*;
use crate::SystemEntropy;
use crate::pkce::CodeVerifier;
use proptest::prelude::*;

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const LIFETIMES: Lifetimes = Lifetimes {
    idle: 1000,
    absolute: 5000,
    grace: 120,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn client() -> ClientId {
    ClientId::parse("client").unwrap()
}

fn issued() -> (Session, AuthorizationCode) {
    let request = AuthorizeRequest {
        client_id: client(),
        redirect_uri: RedirectUri::parse("https://a.example/cb").unwrap(),
        state: None,
        scope: ScopeSet::parse("mcp").unwrap(),
        code_challenge: CodeVerifier::parse(VERIFIER).unwrap().challenge(),
        device: None,
        service: ServiceName::parse("mcp-fetch").unwrap(),
    };
    let person = Person {
        subject: Subject::parse("local:ann").unwrap(),
        login: "ann".to_owned(),
        names: std::collections::BTreeSet::new(),
        memberships: std::collections::BTreeSet::new(),
    };
    Session::issue_code(&request, person, at(0), &SystemEntropy)
}

fn redeem(
    session: Session,
    code: &AuthorizationCode,
    verifier: &str,
    client_id: &ClientId,
    now: i64,
) -> Redeemed {
    let verifier = CodeVerifier::parse(verifier).unwrap();
    let attempt = Redemption {
        code,
        client_id,
        redirect_uri: None,
        verifier: &verifier,
    };
    session.redeem(&attempt, LIFETIMES, at(now), &SystemEntropy)
}

fn active() -> (Session, AuthorizationCode) {
    let (session, code) = issued();
    match redeem(session, &code, VERIFIER, &client(), 1) {
        Redeemed::Fresh(session) => (session, code),
        other => panic!("{other:?}"),
    }
}

fn key() -> DerivationKey {
    DerivationKey::new([7; 32])
}

#[test]
fn a_code_works_once_and_its_replay_ends_the_session() {
    let (session, code) = active();
    assert!(session.is_alive(at(2)));
    let Redeemed::Replayed(session) = redeem(session, &code, VERIFIER, &client(), 12) else {
        panic!()
    };
    assert!(!session.is_alive(at(12)));
}

#[test]
fn a_lost_answer_may_be_asked_for_again_within_seconds() {
    let (session, code) = active();
    let first = session.refresh_token(&key()).unwrap();
    let Redeemed::Repeated(session) = redeem(session, &code, VERIFIER, &client(), 11) else {
        panic!()
    };
    assert_eq!(
        session.refresh_token(&key()).unwrap().expose(),
        first.expose()
    );
}

#[test]
fn a_repeat_by_another_client_is_a_replay() {
    let (session, code) = active();
    let thief = ClientId::parse("thief").unwrap();
    assert!(matches!(
        redeem(session, &code, VERIFIER, &thief, 2),
        Redeemed::Replayed(_)
    ));
}

#[test]
fn wrong_proofs_do_not_take_the_code_from_its_owner_until_the_third() {
    let (session, code) = issued();
    let wrong = "x".repeat(43);
    let Redeemed::Refused(session) = redeem(session, &code, &wrong, &client(), 1) else {
        panic!()
    };
    let thief = ClientId::parse("thief").unwrap();
    let Redeemed::Refused(session) = redeem(session, &code, VERIFIER, &thief, 1) else {
        panic!()
    };
    assert!(matches!(
        redeem(session.clone(), &code, VERIFIER, &client(), 1),
        Redeemed::Fresh(_)
    ));
    let Redeemed::Refused(session) = redeem(session, &code, &wrong, &client(), 1) else {
        panic!()
    };
    assert!(matches!(
        redeem(session, &code, VERIFIER, &client(), 1),
        Redeemed::Unknown
    ));
}

#[test]
fn a_code_ends_after_a_minute() {
    let (session, code) = issued();
    assert!(matches!(
        redeem(session.clone(), &code, VERIFIER, &client(), 59),
        Redeemed::Fresh(_)
    ));
    assert!(matches!(
        redeem(session, &code, VERIFIER, &client(), 60),
        Redeemed::Unknown
    ));
}

#[test]
fn a_spent_refresh_token_leads_to_the_same_successor_within_the_grace() {
    let (session, _) = active();
    let first = session.refresh_token(&key()).unwrap();
    let Refreshed::Rotated(session) =
        session.refresh(&first, &client(), &key(), LIFETIMES, at(100))
    else {
        panic!()
    };
    let second = session.refresh_token(&key()).unwrap();
    assert_ne!(first.expose(), second.expose());
    let Refreshed::Repeated(session) =
        session.refresh(&first, &client(), &key(), LIFETIMES, at(220))
    else {
        panic!()
    };
    assert_eq!(
        session.refresh_token(&key()).unwrap().expose(),
        second.expose()
    );
    let Refreshed::Replayed(session) =
        session.refresh(&first, &client(), &key(), LIFETIMES, at(221))
    else {
        panic!()
    };
    assert!(!session.is_alive(at(221)));
    assert!(matches!(
        session.refresh(&second, &client(), &key(), LIFETIMES, at(222)),
        Refreshed::Unknown
    ));
}

/// Two instances may differ by the leeway; more is a clock that was put back, and then what was spent is spent all the same.
#[test]
fn a_clock_that_goes_backwards_makes_nothing_good_again() {
    let (session, code) = issued();
    let Redeemed::Fresh(redeemed) = redeem(session, &code, VERIFIER, &client(), 40) else {
        panic!()
    };
    assert!(matches!(
        redeem(redeemed.clone(), &code, VERIFIER, &client(), 10),
        Redeemed::Repeated(_)
    ));
    assert!(matches!(
        redeem(redeemed.clone(), &code, VERIFIER, &client(), 9),
        Redeemed::Replayed(_)
    ));
    let first = redeemed.refresh_token(&key()).unwrap();
    let Refreshed::Rotated(rotated) =
        redeemed.refresh(&first, &client(), &key(), LIFETIMES, at(100))
    else {
        panic!()
    };
    let (ends_at, repeated) = (
        rotated.ends_at(),
        rotated
            .clone()
            .refresh(&first, &client(), &key(), LIFETIMES, at(70)),
    );
    assert!(matches!(repeated, Refreshed::Repeated(_)));
    let replayed = rotated
        .clone()
        .refresh(&first, &client(), &key(), LIFETIMES, at(69));
    assert!(matches!(replayed, Refreshed::Replayed(_)));
    let second = rotated.refresh_token(&key()).unwrap();
    let Refreshed::Rotated(earlier) =
        rotated.refresh(&second, &client(), &key(), LIFETIMES, at(69))
    else {
        panic!()
    };
    assert!(earlier.ends_at() <= ends_at, "no session gets longer");
    assert!(!earlier.is_alive(at(40 + 5000)));
}

#[test]
fn without_grace_the_first_repeat_is_a_replay() {
    let strict = Lifetimes {
        grace: 0,
        ..LIFETIMES
    };
    let (session, _) = active();
    let first = session.refresh_token(&key()).unwrap();
    let Refreshed::Rotated(session) = session.refresh(&first, &client(), &key(), strict, at(100))
    else {
        panic!()
    };
    assert!(matches!(
        session.refresh(&first, &client(), &key(), strict, at(100)),
        Refreshed::Replayed(_)
    ));
}

#[test]
fn a_forged_token_of_a_spent_generation_revokes_nothing() {
    let (session, _) = active();
    let first = session.refresh_token(&key()).unwrap();
    let Refreshed::Rotated(session) =
        session.refresh(&first, &client(), &key(), LIFETIMES, at(100))
    else {
        panic!()
    };
    let forged = RefreshToken::derive(
        &DerivationKey::new([8; 32]),
        &session.id,
        &Seed::generate(&SystemEntropy),
        0,
    );
    assert!(matches!(
        session.refresh(&forged, &client(), &key(), LIFETIMES, at(900)),
        Refreshed::Unknown
    ));
}

#[test]
fn refreshing_moves_the_idle_end_but_never_the_absolute_one() {
    let (mut session, _) = active();
    let mut now = 1;
    while now + 900 < 5001 {
        now += 900;
        let token = session.refresh_token(&key()).unwrap();
        session = match session.refresh(&token, &client(), &key(), LIFETIMES, at(now)) {
            Refreshed::Rotated(session) => session,
            other => panic!("{now}: {other:?}"),
        };
    }
    assert!(session.is_alive(at(5000)));
    assert!(!session.is_alive(at(5001)));
    let token = session.refresh_token(&key()).unwrap();
    assert!(matches!(
        session.refresh(&token, &client(), &key(), LIFETIMES, at(5001)),
        Refreshed::Unknown
    ));
}

#[test]
fn one_access_token_can_be_ended_alone() {
    let (session, _) = active();
    let (one, two) = (
        TokenId::generate(&SystemEntropy),
        TokenId::generate(&SystemEntropy),
    );
    let session = session.revoke_token(one.clone(), at(100), at(2));
    assert!(!session.admits_token(&one, at(3)));
    assert!(session.admits_token(&two, at(3)));
}

#[test]
fn ending_one_access_token_again_counts_once() {
    let (mut session, _) = active();
    let one = TokenId::generate(&SystemEntropy);
    for _ in 0..=REVOKED_TOKENS {
        session = session.revoke_token(one.clone(), at(4000), at(2));
    }
    assert!(!session.admits_token(&one, at(3)));
    assert!(session.is_alive(at(3)));
}

#[test]
fn ending_many_access_tokens_ends_the_session_rather_than_forgetting_one() {
    let (mut session, _) = active();
    for _ in 0..=REVOKED_TOKENS {
        session = session.revoke_token(TokenId::generate(&SystemEntropy), at(4000), at(2));
    }
    assert!(!session.is_alive(at(3)));
}

proptest! {
    /// Whatever a client does, there is at most one live refresh token, and a spent one never works outside the grace.
    #[test]
    fn there_is_never_a_fork(steps in proptest::collection::vec((0usize..20, 0i64..200), 1..40)) {
        let (session, _) = active();
        let mut session = session;
        let mut seen = vec![session.refresh_token(&key()).unwrap()];
        let mut spent: Vec<Option<i64>> = vec![None];
        let mut now = 1;
        for (choice, pause) in steps {
            now += pause;
            let index = choice % seen.len();
            let token = seen[index].clone();
            match session.clone().refresh(&token, &client(), &key(), LIFETIMES, at(now)) {
                Refreshed::Rotated(next) => {
                    prop_assert!(spent[index].is_none());
                    spent[index] = Some(now);
                    seen.push(next.refresh_token(&key()).unwrap());
                    spent.push(None);
                    session = next;
                }
                Refreshed::Repeated(next) => {
                    let since = now - spent[index].unwrap();
                    prop_assert!(since <= 120);
                    let current = next.refresh_token(&key()).unwrap();
                    prop_assert_eq!(current.expose(), seen.last().unwrap().expose());
                }
                Refreshed::Replayed(next) => {
                    prop_assert!(!next.is_alive(at(now)));
                    break;
                }
                Refreshed::Unknown => break,
            }
        }
    }
}
