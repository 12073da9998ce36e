//! `mcp-auth restore`.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _};
use std::path::Path;

use anyhow::Context as _;
use jiff::Timestamp;
use store::{BackupError, Checked};

use super::{Progress, counted, open};
use crate::settings::StoreSettings;

/// What may be done with a store that is not empty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Only tell what would be done.
    pub(crate) dry_run: bool,
    /// Remove all that is in the store first.
    pub(crate) clear: bool,
}

/// Reads a backup from a file, or from standard input for `-`, and stores it. It is read to its end and checked before
/// anything is changed. Returns what was done.
pub(crate) async fn restore(
    settings: StoreSettings,
    source: &Path,
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
