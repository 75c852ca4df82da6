//! Listening to channels.

use super::Server;
use crate::QueueError;
use futures_util::Stream;
use redis::{Msg, ProtocolVersion, PushInfo, PushKind, RedisResult, ToRedisArgs, aio::MultiplexedConnection};
use std::{
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
};
use tokio::sync::mpsc;

/// Messages that wait for the listener; what comes beyond is dropped, as Redis drops what nobody listens to.
const WAITING: usize = 1024;

/// The messages of some channels, a [`Stream`] that ends with its connection.
///
/// On a cluster it listens at any one node: every node gets every message. Behind Sentinels it listens at the master.
pub struct Subscription {
    /// Lives as long as the stream; the connection is closed with it.
    connection: MultiplexedConnection,
    messages: mpsc::Receiver<Msg>,
}

impl Subscription {
    /// Connects. RESP3, in which messages may come at any time, comes with `HELLO`, for which no permission is needed.
    pub(super) async fn open(server: &Server) -> Result<Self, QueueError> {
        let (sender, messages) = mpsc::channel(WAITING);
        let sender = Mutex::new(Some(sender));
        let config = server
            .config(server.command_timeout())
            .set_push_sender(move |push: PushInfo| {
                let mut sender = sender.lock().unwrap_or_else(PoisonError::into_inner);
                if push.kind == PushKind::Disconnection {
                    *sender = None;
                } else if let (Some(sender), Some(message)) = (&*sender, Msg::from_push_info(push)) {
                    let _ = sender.try_send(message);
                }
                Ok::<(), ()>(())
            });
        Ok(Self {
            connection: server.connect_node(&config, ProtocolVersion::RESP3).await?,
            messages,
        })
    }

    /// Listens to more channels.
    pub(super) async fn subscribe(&mut self, channels: impl ToRedisArgs) -> RedisResult<()> {
        self.connection.subscribe(channels).await
    }
}

impl Stream for Subscription {
    type Item = Msg;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Msg>> {
        self.messages.poll_recv(context)
    }
}
