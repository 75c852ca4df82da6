//! A cluster of three masters.

use super::{RedisServer, common, free_port};

/// The slots' ends: the first one's begin at 0.
const ENDS: [u16; 3] = [5460, 10922, 16383];

/// Three masters without replicas. A node that is away takes only its own slots with it.
#[derive(Debug)]
pub struct RedisCluster {
    /// The masters, in the order of their slots.
    pub nodes: [RedisServer; 3],
}

impl RedisCluster {
    /// Starts the nodes, and waits until they know each other.
    pub fn start() -> Self {
        let nodes = [(); 3].map(|()| {
            RedisServer::start_by(|port, folder| {
                let mut all = common(port, folder);
                let bus = free_port();
                let words = format!(
                    "--cluster-enabled yes --cluster-port {bus} --cluster-node-timeout 1000 \
                     --cluster-require-full-coverage no"
                );
                all.extend(words.split(' ').map(str::to_owned));
                all
            })
        });
        let mut first = 0;
        for (node, end) in nodes.iter().zip(ENDS) {
            node.cli(&format!("CLUSTER ADDSLOTSRANGE {first} {end}"));
            first = end + 1;
            for other in &nodes {
                let bus = other.cli("CONFIG GET cluster-port");
                let bus = bus.lines().last().unwrap_or_default();
                node.cli(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", other.port()));
            }
        }
        for node in &nodes {
            node.wait_for("CLUSTER INFO", "cluster_slots_ok:16384");
            node.wait_for("CLUSTER INFO", "cluster_state:ok");
        }
        Self { nodes }
    }

    /// `redis-cluster://127.0.0.1:port` of the first node and the last.
    pub fn url(&self) -> String {
        let [first, _, last] = &self.nodes;
        format!(
            "redis-cluster://127.0.0.1:{},127.0.0.1:{}",
            first.port(),
            last.port()
        )
    }

    /// The node with this slot.
    pub fn with_slot(&mut self, slot: u16) -> &mut RedisServer {
        let [first, second, third] = &mut self.nodes;
        match slot {
            0..=5460 => first,
            5461..=10922 => second,
            _ => third,
        }
    }
}
