//! Making connections.

use super::{
    Server,
    address::{Host, Place},
    plan::Plan,
};
use crate::{
    QueueError,
    link::{Connection, queue_error},
};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, RedisFuture, RedisResult, TlsCertificates, Value, aio::MultiplexedConnection,
    cluster::ClusterClientBuilder, cmd, io::AsyncDNSResolver,
};
use std::{collections::HashMap, net::SocketAddr, sync::atomic::Ordering, time::Duration};

/// What the `redis` crate does about a node of a cluster that is gone or has moved, before it tells us: a few quick tries,
/// within the time that one command has.
const CLUSTER_RETRIES: u32 = 5;
const CLUSTER_PAUSES_MS: (u64, u64) = (20, 200);

impl Server {
    /// Connects for commands. Each step takes at most the connect timeout, and at most `patience`; so does each answer
    /// later. When cancelled, the next call begins with another Sentinel.
    pub(crate) async fn connect(&self, patience: Duration) -> Result<Connection, QueueError> {
        let config = self.config(patience);
        match &self.plan.place {
            Place::Cluster(nodes) => self.connect_cluster(nodes, patience).await,
            _ => Ok(Connection::Node(
                self.connect_node(&config, ProtocolVersion::RESP2).await?,
            )),
        }
    }

    /// How long steps of a connection take at most, and answers on it.
    pub(super) fn config(&self, patience: Duration) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.plan.connect_timeout.min(patience)))
            .set_response_timeout(Some(patience))
    }

    /// Connects to the server, to the master, or to any node of a cluster.
    pub(super) async fn connect_node(
        &self,
        config: &AsyncConnectionConfig,
        protocol: ProtocolVersion,
    ) -> Result<MultiplexedConnection, QueueError> {
        let plan = &*self.plan;
        let redis = plan.redis.clone().set_protocol(protocol);
        match &plan.place {
            Place::Host(host) => plan.connect_named(plan.addr(host), &redis, config).await,
            Place::Unix(path) => {
                plan.connect_named(ConnectionAddr::Unix(path.clone()), &redis, config)
                    .await
            }
            Place::Sentinels { hosts, .. } | Place::Cluster(hosts) => {
                self.connect_any(hosts, config, &redis).await
            }
        }
    }

    /// Tries one after the other, beginning with the one that served last. One that denies access ends the search.
    async fn connect_any(
        &self,
        hosts: &[Host],
        config: &AsyncConnectionConfig,
        redis: &RedisConnectionInfo,
    ) -> Result<MultiplexedConnection, QueueError> {
        let first = self.turn.load(Ordering::Relaxed);
        let mut failures = Vec::new();
        for index in (first..first + hosts.len()).map(|turn| turn % hosts.len()) {
            let Some(host) = hosts.get(index) else { continue };
            // A caller that gives up while this one is silent begins with the next one.
            self.turn.store(index + 1, Ordering::Relaxed);
            let attempt = match &self.plan.place {
                Place::Sentinels { master, .. } => self.through(host, master, config, redis).await,
                _ => self.plan.connect_named(self.plan.addr(host), redis, config).await,
            };
            match attempt {
                Ok(connection) => {
                    self.turn.store(index, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(QueueError::Unavailable(why)) => failures.push(format!("{}:{}: {why}", host.0, host.1)),
                Err(error) => return Err(error),
            }
        }
        Err(QueueError::Unavailable(failures.join("; ").into()))
    }

    /// Asks a Sentinel for the master, connects there, and makes sure that it takes itself for the master, too: for some
    /// seconds after a failover Sentinels may name the old one.
    /// Source of the procedure: Redis, "Guidelines for Redis clients with support for Redis Sentinel".
    async fn through(
        &self,
        sentinel: &Host,
        master: &str,
        config: &AsyncConnectionConfig,
        redis: &RedisConnectionInfo,
    ) -> Result<MultiplexedConnection, QueueError> {
        let plan = &*self.plan;
        let asking = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(plan.connect_timeout))
            .set_response_timeout(Some(plan.connect_timeout));
        let mut asked = plan.connect(plan.addr(sentinel), &plan.sentinel, &asking).await?;
        let named: Option<Host> = cmd("SENTINEL")
            .arg("get-master-addr-by-name")
            .arg(master)
            .query_async(&mut asked)
            .await
            .map_err(queue_error)?;
        let Some(host) = named else {
            return Err(QueueError::Unavailable(
                format!("knows no master `{master}`").into(),
            ));
        };
        let mut connection = plan.connect(plan.addr(&host), redis, config).await?;
        match plan.greet(&mut connection, redis.protocol()).await? {
            Some(role) if role != "master" => {
                let text = format!("names {}:{}, which is a {role}", host.0, host.1);
                Err(QueueError::Unavailable(text.into()))
            }
            _ => Ok(connection),
        }
    }

    async fn connect_cluster(&self, nodes: &[Host], patience: Duration) -> Result<Connection, QueueError> {
        let plan = &*self.plan;
        let seeds = nodes.iter().map(|node| plan.info(plan.addr(node), &plan.redis));
        let mut client =
            ClusterClientBuilder::new(seeds.collect::<RedisResult<Vec<_>>>().map_err(queue_error)?)
                .connection_timeout(plan.connect_timeout.min(patience))
                .response_timeout(patience)
                .tcp_settings(plan.tcp.clone())
                .retries(CLUSTER_RETRIES)
                .min_retry_wait(CLUSTER_PAUSES_MS.0)
                .max_retry_wait(CLUSTER_PAUSES_MS.1);
        if let Some(certificates) = plan.certificates().await? {
            client = client.certs(certificates);
        }
        let client = client.build().map_err(queue_error)?;
        let connection = client.get_async_connection().await.map_err(queue_error)?;
        Ok(Connection::Cluster(connection))
    }
}

impl Plan {
    fn addr(&self, (host, port): &Host) -> ConnectionAddr {
        match &self.tls {
            None => ConnectionAddr::Tcp(host.clone(), *port),
            Some(tls) => ConnectionAddr::TcpTls {
                host: host.clone(),
                port: *port,
                insecure: tls.insecure,
                tls_params: None,
            },
        }
    }

    fn info(&self, addr: ConnectionAddr, redis: &RedisConnectionInfo) -> RedisResult<ConnectionInfo> {
        let info = addr.into_connection_info()?;
        Ok(info
            .set_tcp_settings(self.tcp.clone())
            .set_redis_settings(redis.clone()))
    }

    async fn certificates(&self) -> Result<Option<TlsCertificates>, QueueError> {
        match &self.tls {
            Some(tls) => Ok(Some(
                tls.load()
                    .await
                    .map_err(|error| QueueError::Unavailable(error.into()))?,
            )),
            None => Ok(None),
        }
    }

    async fn connect(
        &self,
        addr: ConnectionAddr,
        redis: &RedisConnectionInfo,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, QueueError> {
        let mut config = config.clone();
        // The certificate is checked against the name that is connected to; that name leads where we want to go.
        let addr = match (addr, self.tls.as_ref().and_then(|tls| tls.server_name.clone())) {
            (
                ConnectionAddr::TcpTls {
                    host,
                    port,
                    insecure,
                    tls_params,
                },
                Some(name),
            ) => {
                config = config.set_dns_resolver(Alias(host));
                ConnectionAddr::TcpTls {
                    host: name,
                    port,
                    insecure,
                    tls_params,
                }
            }
            (addr, _) => addr,
        };
        let info = self.info(addr, redis).map_err(queue_error)?;
        let client = match self.certificates().await? {
            Some(certificates) => Client::build_with_tls(info, certificates),
            None => Client::open(info),
        };
        let client = client.map_err(queue_error)?;
        let connected = client.get_multiplexed_async_connection_with_config(&config).await;
        connected.map_err(queue_error)
    }

    /// As [`connect`](Self::connect), with our name where we have one.
    async fn connect_named(
        &self,
        addr: ConnectionAddr,
        redis: &RedisConnectionInfo,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, QueueError> {
        let mut connection = self.connect(addr, redis, config).await?;
        if self.client_name.is_some() {
            self.greet(&mut connection, redis.protocol()).await?;
        }
        Ok(connection)
    }

    /// Gives the connection its name and asks for the server's role: with `HELLO`, which unlike `ROLE` needs no
    /// permission. `None` from a server that does not know it.
    async fn greet(
        &self,
        connection: &mut MultiplexedConnection,
        protocol: ProtocolVersion,
    ) -> Result<Option<String>, QueueError> {
        let mut hello = cmd("HELLO");
        hello.arg(if protocol == ProtocolVersion::RESP2 { 2 } else { 3 });
        if let Some(name) = &self.client_name {
            hello.arg("SETNAME").arg(name);
        }
        let answer: RedisResult<HashMap<String, Value>> = hello.query_async(connection).await;
        match answer {
            Ok(mut facts) => Ok(facts
                .remove("role")
                .and_then(|role| redis::from_redis_value(role).ok())),
            Err(error) if error.is_io_error() => Err(queue_error(error)),
            Err(_) => Ok(None),
        }
    }
}

/// Looks up this host, whatever name is asked for.
struct Alias(String);

impl AsyncDNSResolver for Alias {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        _: &'b str,
        port: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((self.0.as_str(), port)).await?;
            Ok(Box::new(found) as Box<dyn Iterator<Item = SocketAddr> + Send>)
        })
    }
}
