//! Argon2id (RFC 9106) in memory that is given back.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq as _;

/// Blocks of 1 KiB for which memory is asked at least. The GNU allocator gets as much from the system, and gives it back when it is
/// freed; 19 MiB, which is what a hash usually needs, it would keep for each thread that once checked a password. What is
/// not touched costs nothing.
const LEAST: usize = 36 * 1024;

/// Whether the hash is of this password. Takes some tens of milliseconds and of MiB, as the hash says.
pub(super) fn is_right(password: &[u8], hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| check(password, &hash).unwrap_or(false))
}

/// `None` if the hash is not one of Argon2.
fn check(password: &[u8], hash: &PasswordHash) -> Option<bool> {
    let (salt, expected) = (hash.salt.as_ref()?, hash.hash.as_ref()?);
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    let version = hash
        .version
        .map_or(Ok(Version::default()), Version::try_from);
    let params = Params::try_from(hash).ok()?;
    let mut memory = Vec::with_capacity(params.block_count().max(LEAST));
    memory.resize(params.block_count(), Block::new());
    let mut found = vec![0; expected.len()];
    Argon2::new(algorithm, version.ok()?, params)
        .hash_password_into_with_memory(password, salt, &mut found, memory.as_mut_slice())
        .ok()?;
    Some(found.ct_eq(expected.as_bytes()).into())
}
