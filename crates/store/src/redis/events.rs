//! The subscription to the events of all instances, kept up by a task of its own.

use std::sync::Arc;

use deadpool_redis::redis::aio::{PubSubSink, PubSubStream};
use deadpool_redis::redis::{Client, Msg, RedisError};
use futures_util::StreamExt as _;
use tokio::time::{interval, sleep, timeout};

use super::explain;
use super::options::{COMMAND, CONNECT, HEARTBEAT, pauses};
use crate::backend::{Event, EventHub};

/// Listens for as long as it is polled.
pub(super) async fn listen(client: Client, channel: String, hub: Arc<EventHub>) {
    let mut waits = pauses();
    loop {
        if let Ok(Ok((sink, stream))) = timeout(CONNECT, subscribe(&client, &channel)).await {
            waits = pauses();
            hub.restored();
            let reason = pass_on(sink, stream, &hub).await;
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

/// Passes events on until the subscription is lost; says why.
async fn pass_on(mut sink: PubSubSink, mut messages: PubSubStream, hub: &EventHub) -> String {
    let mut heartbeat = interval(HEARTBEAT);
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(message) => hub.tell(&event(&message)),
                None => return "the connection was closed".to_owned(),
            },
            // A connection that leads nowhere looks like one on which nothing happens.
            _ = heartbeat.tick() => match timeout(COMMAND, sink.ping::<()>()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return explain(&error),
                Err(_) => return format!("no answer within {COMMAND:?}"),
            },
        }
    }
}

/// An event that is not understood (a newer release sent it) may concern anything.
fn event(message: &Msg) -> Event {
    serde_json::from_slice(message.get_payload_bytes()).unwrap_or(Event::Everything)
}
