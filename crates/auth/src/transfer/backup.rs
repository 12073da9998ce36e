//! `mcp-auth backup`.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;
use store::{Backup, Store};

use super::{Progress, counted, open};
use crate::settings::StoreSettings;

/// Writes all records of the store to a file of mode 0600, or to standard output for `-`. The file appears under its name
/// when it is whole and on the disk.
pub(crate) async fn backup(
    settings: StoreSettings,
    target: &Path,
    now: Timestamp,
) -> anyhow::Result<()> {
    let store = open(settings, true, now).await?;
    if target == Path::new("-") {
        let made = write(store, now, std::io::stdout().lock()).await?;
        eprintln!("mcp-auth: backup of {made} written to standard output");
        return Ok(());
    }
    let cannot = || format!("the backup {} cannot be written", target.display());
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".mcp-auth-backup-")
        .tempfile_in(directory)
        .with_context(cannot)?;
    let made = write(store, now, file.as_file_mut())
        .await
        .with_context(cannot)?;
    file.as_file().sync_all().with_context(cannot)?;
    file.persist(target).with_context(cannot)?;
    eprintln!("mcp-auth: backup of {made} written to {}", target.display());
    Ok(())
}

async fn write(store: Store, now: Timestamp, target: impl Write) -> anyhow::Result<String> {
    let mut target = BufWriter::new(target);
    let mut backup = Backup::new(store, now);
    let mut progress = Progress::new("written");
    while let Some(line) = backup.next_line().await? {
        target.write_all(line.as_bytes())?;
        progress.at(backup.counts().values().sum());
    }
    target.flush()?;
    for key in backup.unreadable() {
        eprintln!(
            "mcp-auth: the record {key} is not in the backup: it is not JSON, something else wrote it"
        );
    }
    let total: u64 = backup.counts().values().sum();
    Ok(format!("{total} records ({})", counted(backup.counts())))
}
