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
    Cluster(ClusterConnection),
}

impl Connection {
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match (self, name(command)) {
            (Self::Node(connection), _) => connection.req_packed_command(command),
            // Always the same one, for all hosts: nodes' clocks differ. Another answers while it is away.
            (Self::Cluster(connection), b"TIME") => {
                let first = SingleNodeRoutingInfo::SpecificNode(Route::new(0, SlotAddr::Master));
                Box::pin(connection.route_command(command.clone(), RoutingInfo::SingleNode(first)))
            }
            (Self::Cluster(connection), _) => connection.req_packed_command(command),
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
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Node(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// The first word of a command.
pub(super) fn name(command: &Cmd) -> &[u8] {
    match command.args_iter().next() {
        Some(Arg::Simple(name)) => name,
        _ => &[],
    }
}
