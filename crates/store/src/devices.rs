//! The verbs about devices that wait for a person.

use oauth::device::{DeviceAuthorization, DeviceCode, Polled, UserCode};
use oauth::session::Person;
use oauth::{ClientId, Timestamp};

use crate::Store;
use crate::backend::{Kind, StoreError};
use crate::records::{StoredRecord, Transition};

impl StoredRecord for DeviceAuthorization {
    const KIND: Kind = Kind::Device;
    const VERSION: u32 = 1;
}

impl Store {
    /// Remembers a device that asks. `false` when its user code is taken: make another one.
    pub async fn begin_device(
        &self,
        code: &UserCode,
        device: DeviceAuthorization,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let end = device.expires_at();
        self.records()
            .update(
                code.as_str(),
                now,
                |stored: Option<DeviceAuthorization>| match stored {
                    Some(_) => Transition::keep(false),
                    None => Transition::put(device.clone(), Some(end), true),
                },
            )
            .await
    }

    /// The device that shows this code, if it still waits.
    pub async fn waiting_device(
        &self,
        code: &UserCode,
        now: Timestamp,
    ) -> Result<Option<DeviceAuthorization>, StoreError> {
        let stored: Option<DeviceAuthorization> = self.records().get(code.as_str(), now).await?;
        Ok(stored.filter(|device| device.is_waiting(now)))
    }

    /// A person answered: agreed, if it is said who, or refused. `false` when the device waits no more.
    pub async fn answer_device(
        &self,
        code: &UserCode,
        person: Option<&Person>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.records()
            .update(code.as_str(), now, |stored: Option<DeviceAuthorization>| {
                let answered = stored.and_then(|device| match person {
                    Some(person) => device.approve(person.clone(), now),
                    None => device.deny(now),
                });
                match answered {
                    None => Transition::keep(false),
                    Some(device) => {
                        let end = device.expires_at();
                        Transition::put(device, Some(end), true)
                    }
                }
            })
            .await
    }

    /// The device asks; of many questions at once one gets the grant.
    pub async fn poll_device(
        &self,
        code: &DeviceCode,
        client_id: &ClientId,
        now: Timestamp,
    ) -> Result<Polled, StoreError> {
        self.records()
            .update(
                code.user_code.as_str(),
                now,
                |stored: Option<DeviceAuthorization>| {
                    let Some(device) = stored else {
                        return Transition::keep(Polled::Unknown);
                    };
                    let end = Some(device.expires_at());
                    match device.poll(code, client_id, now) {
                        Polled::Pending(device) => {
                            Transition::put(device.clone(), end, Polled::Pending(device))
                        }
                        Polled::SlowDown(device) => {
                            Transition::put(device.clone(), end, Polled::SlowDown(device))
                        }
                        Polled::Granted(device, person, at) => Transition::put(
                            device.clone(),
                            end,
                            Polled::Granted(device, person, at),
                        ),
                        refused @ (Polled::Denied | Polled::Expired | Polled::Unknown) => {
                            Transition::keep(refused)
                        }
                    }
                },
            )
            .await
    }
}
