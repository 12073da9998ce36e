//! In which indexes a record is listed.

use jiff::Timestamp;
use oauth::client::Client;
use oauth::consent::Consent;
use oauth::session::Session;

use crate::backend::{Index, Key, Kind, Record, StoreError};
use crate::keys::SealedKeyRing;
use crate::people::PersonRecord;
use crate::records::{StoredRecord, decode};

/// In which indexes a record is listed, and until when. Fails for a record that this program does not understand.
pub(super) fn entries(
    key: &Key,
    record: &Record,
) -> Result<Vec<(Index, Option<Timestamp>)>, StoreError> {
    fn read<T: StoredRecord>(key: &Key, record: &Record) -> Result<T, StoreError> {
        decode(key, Some(record))?.ok_or_else(|| StoreError::corrupt(key, "it is empty"))
    }
    let end = record.expires_at();
    Ok(match key.kind() {
        Kind::Client => {
            read::<Client>(key, record)?;
            vec![(Index::Clients, end)]
        }
        Kind::Session => {
            let session: Session = read(key, record)?;
            match session.ends_at().or(end) {
                end @ Some(_) => vec![
                    (Index::Sessions, end),
                    (
                        Index::SessionsOfPerson(session.person.subject.to_string()),
                        end,
                    ),
                    (Index::SessionsOfClient(session.client_id.to_string()), end),
                ],
                None => Vec::new(),
            }
        }
        Kind::Person => {
            read::<PersonRecord>(key, record)?;
            vec![(Index::People, None)]
        }
        Kind::KeyRing => {
            read::<SealedKeyRing>(key, record)?;
            Vec::new()
        }
        Kind::Consent => {
            let consent: Consent = read(key, record)?;
            let of_person = Index::ConsentsOfPerson(consent.subject.to_string());
            vec![(of_person, end)]
        }
        Kind::Authorization | Kind::Pin | Kind::Browser | Kind::Device | Kind::Account => {
            Vec::new()
        }
    })
}
