//! What a store that others share says, and who does not wait for it. That takes seconds and two instances in step, so it is
//! shown here, with a clock of its own, and not over HTTP.

use std::sync::Arc;

use chassis::metrics::Metrics;
use oauth::{ManualClock, Timestamp};
use store::{MemoryBackend, Store};

use super::*;
use crate::config::LimitsConfig;

/// Two instances that count in one store, of which each alone would admit two.
struct Instances {
    here: Limits,
    there: Limits,
    clock: ManualClock,
}

impl Instances {
    fn start() -> Self {
        let config = LimitsConfig {
            device_codes: 2,
            ..LimitsConfig::default()
        };
        let store = Store::new(Arc::new(MemoryBackend::new()));
        let counted = crate::counted::Counted::new(&Metrics::new("mcp_auth"));
        let instance = || Limits::new(&config, Some(store.clone()), counted.clone());
        Self {
            here: instance(),
            there: instance(),
            clock: ManualClock::at(Timestamp::UNIX_EPOCH),
        }
    }

    async fn attempt<'a>(&'a self, instance: &'a Limits) -> Result<Attempt<'a>, Exceeded> {
        let who = Who::ALL.named("somebody");
        instance
            .attempt(Limit::DeviceCodes, &who, &self.clock)
            .await
    }

    /// One attempt at work in each instance: there is no room for a third, but there may be when that of `here` ends.
    async fn fill(&self) -> [Attempt<'_>; 2] {
        let [here, there] = [&self.here, &self.there].map(|one| self.attempt(one));
        [here.await.unwrap(), there.await.unwrap()]
    }

    /// All of them went well, so that two may fail here now.
    async fn assert_nothing_is_counted(&self, under_way: [Attempt<'_>; 2]) {
        for one in under_way {
            one.succeeded().await;
        }
        let first = self.attempt(&self.here).await;
        let second = self.attempt(&self.here).await;
        assert!(first.is_ok() && second.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_waited_in_vain_has_tried_nothing() {
    let instances = Instances::start();
    let under_way = instances.fill().await;
    let refused = instances.attempt(&instances.here).await.err().unwrap();
    assert_eq!(refused.wait, Duration::from_secs(30));
    instances.assert_nothing_is_counted(under_way).await;
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_while_the_store_is_asked_has_tried_nothing() {
    let instances = Instances::start();
    let under_way = instances.fill().await;
    let impatient =
        tokio::time::timeout(Duration::from_secs(1), instances.attempt(&instances.here));
    assert!(impatient.await.is_err());
    instances.assert_nothing_is_counted(under_way).await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_let_in_when_another_has_ended_well() {
    let instances = Instances::start();
    let [here, _failed] = instances.fill().await;
    let (next, ()) = tokio::join!(instances.attempt(&instances.here), here.succeeded());
    assert!(next.is_ok());
    assert!(instances.attempt(&instances.there).await.is_err());
}
