//! Each target over its seeds and over mutations of them: what cargo-fuzz does, for a second, on the stable toolchain.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where its expectation does"
)]

use std::hash::{BuildHasher as _, Hasher as _};
use std::path::Path;

use fuzzing::TARGETS;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// Mutations of each target.
const CASES: u32 = 10_000;
/// Bytes that mean something to at least one of the parsers.
const TOKENS: [&[u8]; 16] = [
    b"\n", b"\r", b"\"", b"\\", b"{", b"}", b"[", b":", b",", b"/", b"@", b"#", b"%00", b"\xff",
    b"..", b"null",
];

/// One change: a place, how many bytes go, and what comes.
type Edit = (prop::sample::Index, usize, Vec<u8>);

fn edit() -> impl Strategy<Value = Edit> {
    let token = prop::sample::select(&TOKENS[..]).prop_map(<[u8]>::to_vec);
    (
        any::<prop::sample::Index>(),
        0_usize..4,
        prop_oneof![token, vec(any::<u8>(), 0..4)],
    )
}

fn mutate(seed: &[u8], edits: Vec<Edit>) -> Vec<u8> {
    let mut text = seed.to_vec();
    for (place, gone, new) in edits {
        let start = place.index(text.len() + 1);
        let end = (start + gone).min(text.len());
        text.splice(start..end, new);
    }
    text
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(target);
    let entries =
        std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .into_iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect()
}

#[test]
fn no_seed_and_no_mutation_of_one_breaks_what_must_hold() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in &seeds {
            target(seed);
        }
        // Other mutations in each run; PROPTEST_RNG_SEED makes those of a run again.
        let rng_seed = match Config::default().rng_seed {
            RngSeed::Random => {
                RngSeed::Fixed(std::hash::RandomState::new().build_hasher().finish())
            }
            given @ RngSeed::Fixed(_) => given,
        };
        let config = Config {
            cases: CASES,
            failure_persistence: None,
            rng_seed,
            ..Config::default()
        };
        println!("{name}: PROPTEST_RNG_SEED={rng_seed}");
        let inputs = prop_oneof![
            4 => (prop::sample::select(seeds), vec(edit(), 1..6)).prop_map(|(seed, edits)| mutate(&seed, edits)),
            1 => vec(any::<u8>(), 0..64),
        ];
        TestRunner::new(config)
            .run(&inputs, |input| {
                target(&input);
                Ok(())
            })
            .unwrap_or_else(|failure| panic!("{name}, PROPTEST_RNG_SEED={rng_seed}: {failure}"));
    }
}
