//! `mcp-auth restore`.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use chassis::config::Secret;
use jiff::Timestamp;
use store::{BackupError, Checked};

use super::{Progress, counted, open};
use crate::keys;
use crate::settings::StoreSettings;

/// What may be done with a store that is not empty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Only tell what would be done.
    pub(crate) dry_run: bool,
    /// Remove all that is in the store first.
    pub(crate) clear: bool,
}

/// The secrets of the service that goes on with what is restored; none where only the store is configured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Secrets<'a> {
    pub(crate) newest: Option<&'a Secret>,
    pub(crate) previous: Option<&'a Secret>,
}

impl Secrets<'_> {
    /// Keys that the service cannot open would keep it from starting.
    fn check(self, backup: &Checked) -> anyhow::Result<()> {
        let (Some(newest), Some(ring)) = (self.newest, backup.key_ring()) else {
            return Ok(());
        };
        if keys::opens(newest, self.previous, ring)? {
            return Ok(());
        }
        bail!(
            "the keys in the backup were sealed with another GATEWAY_JWT_SECRET than the present one: set \
             GATEWAY_JWT_SECRET_PREVIOUS to the one of that time; nothing was restored"
        )
    }
}

/// Reads a backup from a file, or from standard input for `-`, and stores it. It is read to its end and checked before
/// anything is changed. Returns what was done.
pub(crate) async fn restore(
    settings: StoreSettings,
    source: &Path,
    secrets: Secrets<'_>,
    options: Options,
    now: Timestamp,
) -> anyhow::Result<String> {
    let cannot = || format!("the backup {} cannot be read", source.display());
    let mut file = if source == Path::new("-") {
        // It is read twice, so it is kept on the disk, in a file without a name.
        let mut copy = tempfile::tempfile().with_context(cannot)?;
        std::io::copy(&mut std::io::stdin().lock(), &mut copy).with_context(cannot)?;
        copy.rewind().with_context(cannot)?;
        copy
    } else {
        File::open(source).with_context(cannot)?
    };
    let checked = Checked::read(BufReader::new(&file).lines(), now)?;
    secrets.check(&checked)?;
    let store = open(settings, options.dry_run, now).await?;
    let total: u64 = checked.counts().values().sum();
    let content = format!(
        "{total} records ({}) of the backup made at {} by release {}",
        counted(checked.counts()),
        checked.made_at(),
        checked.release()
    );
    let ended = match checked.ended() {
        0 => String::new(),
        ended => format!("; {ended} have ended since"),
    };
    let found = checked.strangers(&store, now).await?;
    if !found.is_empty() && !options.clear {
        return Err(BackupError::NotEmpty { found }.into());
    }
    if options.dry_run {
        let removed = if found.is_empty() {
            String::new()
        } else {
            format!(
                ", after removing what is in the store (not in the backup: {})",
                counted(&found)
            )
        };
        return Ok(format!("would restore {content}{ended}{removed}"));
    }
    let cleared = if found.is_empty() {
        String::new()
    } else {
        format!(", {} were removed before", store.clear(now).await?)
    };
    file.rewind().with_context(cannot)?;
    let mut progress = Progress::new("restored");
    let lines = BufReader::new(&file).lines();
    checked
        .restore(&store, lines, now, |count| progress.at(count))
        .await?;
    Ok(format!("restored {content}{ended}{cleared}"))
}
