//! A cluster of three masters.

use super::{Certificates, RedisServer, common, free_port};

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
        Self::start_with(&[])
    }

    /// As [`start`](Self::start), with more arguments for each.
    pub fn start_with(arguments: &[&str]) -> Self {
        let nodes = [(); 3].map(|()| start_node(arguments));
        let mut first = 0;
        for (node, end) in nodes.iter().zip(ENDS) {
            node.cli(&format!("CLUSTER ADDSLOTSRANGE {first} {end}"));
            first = end + 1;
            for other in &nodes {
                meet(node, other);
            }
        }
        for node in &nodes {
            node.wait_for("CLUSTER INFO", "cluster_slots_ok:16384");
            node.wait_for("CLUSTER INFO", "cluster_state:ok");
        }
        Self { nodes }
    }

    /// Nodes that speak TLS with clients; the ports of [`nodes`](Self::nodes) are without.
    pub fn start_tls(certificates: &Certificates) -> Self {
        let arguments = certificates.server_arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Self::start_with(&arguments)
    }

    /// Starts a replica of the first node, and waits until the others know it.
    pub fn add_replica(&self) -> RedisServer {
        let [master, ..] = &self.nodes;
        let (replica, id) = (start_node(&[]), master.cli("CLUSTER MYID"));
        meet(master, &replica);
        replica.wait_for("CLUSTER NODES", &id);
        replica.cli(&format!("CLUSTER REPLICATE {id}"));
        replica.wait_for("INFO replication", "master_link_status:up");
        for node in &self.nodes {
            node.wait_for("CLUSTER NODES", &format!(" slave {id}"));
        }
        replica
    }

    /// `redis-cluster://127.0.0.1:port` of the first node and the last.
    pub fn url(&self) -> String {
        let [first, _, last] = &self.nodes;
        format!(
            "redis-cluster://127.0.0.1:{},127.0.0.1:{}",
            port(first),
            port(last)
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

fn start_node(arguments: &[&str]) -> RedisServer {
    RedisServer::start_by(|port, folder| {
        let bus = free_port();
        let words = format!(
            "--cluster-enabled yes --cluster-port {bus} --cluster-node-timeout 1000 \
             --cluster-require-full-coverage no --repl-diskless-sync-delay 0"
        );
        let mut all = common(port, folder);
        all.extend(
            words
                .split(' ')
                .chain(arguments.iter().copied())
                .map(str::to_owned),
        );
        if arguments.contains(&"--tls-cert-file") {
            // The nodes among themselves do without, for simplicity; clients are told of this port alone.
            let tls = free_port().to_string();
            all.extend(["--tls-port", &tls, "--cluster-announce-port", &tls].map(str::to_owned));
        }
        all
    })
}

fn meet(node: &RedisServer, other: &RedisServer) {
    let bus = setting(other, "cluster-port");
    node.cli(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", port(other)));
}

/// Where nodes and clients reach it: with TLS, where it speaks that.
fn port(node: &RedisServer) -> String {
    match setting(node, "tls-port").as_str() {
        "0" => node.port().to_string(),
        port => port.to_owned(),
    }
}

fn setting(node: &RedisServer, name: &str) -> String {
    let answer = node.cli(&format!("CONFIG GET {name}"));
    answer.lines().last().unwrap_or_default().to_owned()
}
