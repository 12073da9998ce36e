//! The subscription to the events of all instances, kept up by a task of its own.
//!
//! An event is published by the server that holds the record, in the same step as its change. So every such server is
//! listened to: one, or each primary of a cluster. (A cluster passes events on between its nodes as well, so that one may
//! come several times; but what it passes on while its nodes do not reach each other is lost without a word.)

use std::sync::Arc;

use deadpool_redis::redis::aio::{PubSubSink, PubSubStream};
use deadpool_redis::redis::{Client, Msg, RedisError};
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::watch;
use tokio::time::{interval, sleep, timeout};

use super::options::{COMMAND, CONNECT, HEARTBEAT, pauses};
use super::servers::explain;
use crate::backend::{Event, EventHub};

/// The servers on which events are published at present; none while they are not known.
pub(super) type Sources = watch::Receiver<Vec<Client>>;

/// Listens for as long as it is polled.
pub(super) async fn listen(mut sources: Sources, channel: String, hub: Arc<EventHub>) {
    let mut waits = pauses();
    loop {
        let clients = match sources.wait_for(|clients| !clients.is_empty()).await {
            Ok(clients) => clients.clone(),
            Err(_closed) => return,
        };
        sources.mark_unchanged();
        let subscribing = try_join_all(clients.iter().map(|client| subscribe(client, &channel)));
        if let Ok(Ok(subscriptions)) = timeout(CONNECT, subscribing).await {
            waits = pauses();
            hub.restored();
            let reason = tokio::select! {
                reason = pass_on(subscriptions, &hub) => reason,
                changed = sources.changed() => match changed {
                    Ok(()) => "another server has become a primary".to_owned(),
                    Err(_closed) => return,
                },
            };
            hub.lost();
            tracing::warn!("lost the subscription to events in Redis: {reason}; subscribing again");
        }
        sleep(waits.next().unwrap_or(CONNECT)).await;
    }
}

async fn subscribe(
    client: &Client,
    channel: &str,
) -> Result<(PubSubSink, PubSubStream), RedisError> {
    let mut subscription = client.get_async_pubsub().await?;
    subscription.subscribe(channel).await?;
    Ok(subscription.split())
}

/// Passes events on until one of the subscriptions is lost; says why.
async fn pass_on(subscriptions: Vec<(PubSubSink, PubSubStream)>, hub: &EventHub) -> String {
    let (mut sinks, streams): (Vec<_>, Vec<_>) = subscriptions.into_iter().unzip();
    // The end of one of them is an item too, or it would go unnoticed beside the others.
    let with_end = |stream: PubSubStream| stream.map(Some).chain(stream::iter([None]));
    let mut messages = stream::select_all(streams.into_iter().map(with_end));
    let mut heartbeat = interval(HEARTBEAT);
    loop {
        tokio::select! {
            message = messages.next() => match message.flatten() {
                Some(message) => hub.tell(&event(&message)),
                None => return "the connection was closed".to_owned(),
            },
            // A connection that leads nowhere looks like one on which nothing happens.
            _ = heartbeat.tick() => {
                let pings = try_join_all(sinks.iter_mut().map(PubSubSink::ping::<()>));
                match timeout(COMMAND, pings).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return explain(&error),
                    Err(_) => return format!("no answer within {COMMAND:?}"),
                }
            }
        }
    }
}

/// An event that is not understood (a newer release sent it) may concern anything.
fn event(message: &Msg) -> Event {
    serde_json::from_slice(message.get_payload_bytes()).unwrap_or(Event::Everything)
}
