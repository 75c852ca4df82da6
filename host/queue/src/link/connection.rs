//! A connection to one server, or to all nodes of a cluster.

use redis::{
    Arg, Cmd, Pipeline, RedisFuture, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster_async::ClusterConnection,
    cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
};

/// Clones share what they are connected to.
#[derive(Clone)]
pub(crate) enum Connection {
    /// One server.
    Node(MultiplexedConnection),
    /// All masters of a cluster; each command goes to the one that has its keys' slot.
    Cluster {
        connection: ClusterConnection,
        /// Where the last script call through this clone went.
        script: Option<SingleNodeRoutingInfo>,
    },
}

impl Connection {
    pub(crate) fn cluster(connection: ClusterConnection) -> Self {
        let script = None;
        Self::Cluster { connection, script }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster { .. })
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Node(connection) => connection.req_packed_command(command),
            Self::Cluster { connection, script } => {
                let node = match name(command) {
                    // Always the same one, for all hosts: nodes' clocks differ. Another answers while it is away.
                    b"TIME" => Some(SingleNodeRoutingInfo::SpecificNode(Route::new(
                        0,
                        SlotAddr::Master,
                    ))),
                    b"EVALSHA" => {
                        *script = first_key(command).map(|key| {
                            SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master))
                        });
                        None
                    }
                    // Only to the node that did not know it: by itself, the crate wants all nodes to be there.
                    b"SCRIPT" => script.clone(),
                    _ => None,
                };
                match node {
                    Some(node) => {
                        Box::pin(connection.route_command(command.clone(), RoutingInfo::SingleNode(node)))
                    }
                    None => connection.req_packed_command(command),
                }
            }
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Node(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster { connection, .. } => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Node(connection) => connection.get_db(),
            Self::Cluster { connection, .. } => connection.get_db(),
        }
    }
}

/// The first word of a command.
pub(super) fn name(command: &Cmd) -> &[u8] {
    word(command, 0).unwrap_or_default()
}

/// The first key of a script call: `EVALSHA hash count key…`.
fn first_key(command: &Cmd) -> Option<&[u8]> {
    word(command, 2).filter(|count| count != b"0")?;
    word(command, 3)
}

fn word(command: &Cmd, index: usize) -> Option<&[u8]> {
    match command.args_iter().nth(index) {
        Some(Arg::Simple(word)) => Some(word),
        _ => None,
    }
}
