//! `mcp-auth backup`.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Seek as _, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;
use store::{Backup, Checked, OpenError, Store};

use super::{Progress, counted, open};
use crate::admin::client::AdminClient;
use crate::settings::StoreSettings;

/// Where the records come from.
enum Source {
    /// The store itself.
    Store(Store),
    /// The service that has it open.
    Service(Box<AdminClient>),
}

/// Writes all records of the store to a file of mode 0600, or to standard output for `-`. The file appears under its name
/// when it is whole and on the disk. A store file that a running service has open is asked for from that `service`.
pub(crate) async fn backup(
    settings: StoreSettings,
    service: impl FnOnce() -> anyhow::Result<AdminClient>,
    target: &Path,
    now: Timestamp,
) -> anyhow::Result<()> {
    let source = match open(settings, true, now).await {
        Ok(store) => Source::Store(store),
        Err(error) if is_in_use(&error) => Source::Service(Box::new(service()?)),
        Err(error) => return Err(error),
    };
    if target == Path::new("-") {
        let made = match source {
            Source::Store(store) => write(store, now, std::io::stdout().lock()).await?,
            Source::Service(service) => {
                // Not before it is known to be whole.
                let mut copy = tempfile::tempfile().context("no room for the backup")?;
                let made = fetch(&service, now, &mut copy).await?;
                copy.rewind()?;
                std::io::copy(&mut copy, &mut std::io::stdout().lock())?;
                made
            }
        };
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
    let made = match source {
        Source::Store(store) => write(store, now, file.as_file_mut()).await,
        Source::Service(service) => fetch(&service, now, file.as_file_mut()).await,
    };
    let made = made.with_context(cannot)?;
    file.as_file().sync_all().with_context(cannot)?;
    file.persist(target).with_context(cannot)?;
    eprintln!("mcp-auth: backup of {made} written to {}", target.display());
    Ok(())
}

fn is_in_use(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<OpenError>(),
        Some(OpenError::InUse { .. })
    )
}

/// Gets the backup from the service and checks that all of it has come.
async fn fetch(service: &AdminClient, now: Timestamp, target: &mut File) -> anyhow::Result<String> {
    let mut answer = service
        .backup()
        .await
        .context("the service that has the store open has to be asked")?;
    let mut writer = BufWriter::new(&mut *target);
    while let Some(piece) = answer
        .chunk()
        .await
        .context("the service did not finish the backup")?
    {
        writer.write_all(&piece)?;
    }
    writer.flush()?;
    drop(writer);
    target.rewind()?;
    let checked = Checked::read(BufReader::new(&*target).lines(), now)?;
    let total: u64 = checked.counts().values().sum();
    Ok(format!("{total} records ({})", counted(checked.counts())))
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
