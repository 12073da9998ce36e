use super::*;
use crate::{Clock as _, ManualClock, SystemEntropy};

const DAY: u64 = 24 * 3600;
const LIFE: u64 = 3600;

fn schedule(algorithm: Algorithm) -> Schedule {
    Schedule {
        algorithm,
        rotate_every: 30 * DAY,
        publish_before: Schedule::SAFE_PUBLISH_BEFORE,
        token_life: LIFE,
    }
}

fn fresh() -> FreshKey<()> {
    FreshKey {
        id: KeyId::generate(&SystemEntropy),
        algorithm: Algorithm::Es256,
        material: (),
    }
}

fn shown(keys: &SigningKeys<()>, now: Timestamp) -> Vec<KeyState> {
    keys.states(now).map(|(_, state)| state).collect()
}

fn start() -> (ManualClock, SigningKeys<()>) {
    let clock = ManualClock::at(Timestamp::from_second(1_800_000_000).unwrap());
    let keys = SigningKeys::first(fresh(), &schedule(Algorithm::Es256), clock.now());
    (clock, keys)
}

#[test]
fn a_key_is_published_twice_the_caching_time_before_it_signs() {
    const { assert!(Schedule::SAFE_PUBLISH_BEFORE >= 600) };
}

/// A hundred days in steps of 30 s: at each step a token is signed, and every token that is not yet over verifies.
#[test]
fn over_three_rotations_every_living_token_verifies_and_every_key_was_published_before_it_signed() {
    let (clock, mut keys) = start();
    let schedule = schedule(Algorithm::Es256);
    let mut published: std::collections::BTreeMap<KeyId, Timestamp> = keys
        .iter()
        .map(|key| (key.id.clone(), Timestamp::UNIX_EPOCH))
        .collect();
    let mut living: std::collections::VecDeque<(KeyId, Timestamp)> = [].into();
    let mut signers = std::collections::BTreeSet::new();
    for _ in 0..100 * DAY / 30 {
        let now = clock.now();
        keys.keep_up(&schedule, now, Some(fresh()));
        for key in &keys {
            published.entry(key.id.clone()).or_insert(now);
        }
        let signer = keys.current(now).unwrap().id.clone();
        let known_for = now.duration_since(published[&signer]).as_secs();
        assert!(known_for >= 600, "{signer} was known for {known_for} s");
        signers.insert(signer.clone());
        if now.as_second() % 600 == 0 {
            living.push_back((signer, after(now, LIFE + 30)));
        }
        while living.front().is_some_and(|(_, end)| *end <= now) {
            living.pop_front();
        }
        for (id, _) in &living {
            assert!(keys.get(id.as_str()).is_some(), "{id} is gone too soon");
        }
        assert!(keys.iter().count() <= 2, "{:?}", shown(&keys, now));
        clock.advance(30);
    }
    assert_eq!(signers.len(), 4, "three rotations");
}

#[test]
fn the_states_follow_each_other() {
    use KeyState::{Current, Next, Retired};
    let (clock, mut keys) = start();
    let schedule = schedule(Algorithm::Es256);
    let Rotation::Begun(id, from) = keys.rotate(&schedule, clock.now(), fresh()) else {
        panic!("nothing was under way");
    };
    assert_eq!(shown(&keys, clock.now()), [Current, Next]);
    assert_eq!(
        keys.rotate(&schedule, clock.now(), fresh()),
        Rotation::UnderWay(id.clone(), from)
    );
    clock.advance(659);
    assert_eq!(shown(&keys, clock.now()), [Current, Next]);
    clock.advance(1);
    assert_eq!(shown(&keys, clock.now()), [Retired, Current]);
    assert_eq!(keys.current(clock.now()).unwrap().id, id);
    // One access-token life, the leeway and the time for which the published keys may be kept.
    clock.advance(3600 + 30 + 300 - 1);
    keys.keep_up(&schedule, clock.now(), None);
    assert_eq!(shown(&keys, clock.now()), [Retired, Current]);
    clock.advance(1);
    keys.keep_up(&schedule, clock.now(), None);
    assert_eq!(shown(&keys, clock.now()), [Current]);
}

#[test]
fn another_algorithm_is_a_rotation() {
    let (clock, mut keys) = start();
    let schedule = schedule(Algorithm::EdDsa);
    assert!(keys.needs_successor(&schedule, clock.now()));
    let next = FreshKey {
        algorithm: Algorithm::EdDsa,
        ..fresh()
    };
    keys.keep_up(&schedule, clock.now(), Some(next));
    assert!(!keys.needs_successor(&schedule, clock.now()));
    assert_eq!(
        keys.current(clock.now()).unwrap().algorithm,
        Algorithm::Es256
    );
    clock.advance(660);
    assert_eq!(
        keys.current(clock.now()).unwrap().algorithm,
        Algorithm::EdDsa
    );
    assert!(!keys.needs_successor(&schedule, clock.now()));
}

#[test]
fn without_a_period_keys_stay() {
    let (clock, keys) = start();
    let schedule = Schedule {
        rotate_every: 0,
        ..schedule(Algorithm::Es256)
    };
    clock.advance(i64::try_from(1000 * DAY).unwrap());
    assert!(!keys.needs_successor(&schedule, clock.now()));
}

#[test]
fn a_replaced_key_is_gone_at_once() {
    let (clock, mut keys) = start();
    let old = keys.current(clock.now()).unwrap().id.clone();
    let new = keys.replace(&schedule(Algorithm::Es256), clock.now(), fresh());
    assert!(keys.get(old.as_str()).is_none());
    assert_eq!(keys.current(clock.now()).unwrap().id, new);
}

/// Shorter tokens by configuration do not end the key of longer ones that were issued before.
#[test]
fn a_key_is_kept_for_the_longest_tokens_that_it_may_have_signed() {
    let (clock, mut keys) = start();
    let long = Schedule {
        token_life: 30 * DAY,
        ..schedule(Algorithm::Es256)
    };
    keys.keep_up(&long, clock.now(), None);
    let old = keys.current(clock.now()).unwrap().id.clone();
    let short = schedule(Algorithm::Es256);
    keys.rotate(&short, clock.now(), fresh());
    clock.advance(i64::try_from(29 * DAY).unwrap());
    keys.keep_up(&short, clock.now(), None);
    assert!(keys.get(old.as_str()).is_some());
    clock.advance(i64::try_from(2 * DAY).unwrap());
    keys.keep_up(&short, clock.now(), None);
    assert!(keys.get(old.as_str()).is_none());
}

#[test]
fn a_clock_that_is_behind_signs_with_the_oldest_key() {
    let (clock, keys) = start();
    clock.advance(-3600);
    assert!(keys.current(clock.now()).is_some());
}
