//! Opening TCP connections: the addresses of a name raced, a little apart (RFC 8305 "Happy Eyeballs").

use super::{NetError, Resolved};
use futures_util::{StreamExt, stream::FuturesUnordered};
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    net::TcpStream,
    time::{self, Instant},
};

/// How long one attempt has before the next begins beside it (RFC 8305 §5, recommended value).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to the first of what was `found` that answers; tries them in turn, families alternating. Cancel safe: dropping
/// the future abandons every attempt.
pub(super) async fn race(found: &Resolved, port: u16, deadline: Instant) -> Result<TcpStream, NetError> {
    let addresses = found.addresses.iter().map(|ip| SocketAddr::new(*ip, port));
    let addresses: Vec<_> = addresses.collect();
    let target = addresses
        .iter()
        .map(SocketAddr::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    let mut waiting = alternate(addresses).into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut first_error = None;
    let mut slow = None;
    loop {
        if attempts.is_empty() || slow.is_none_or(|at| at <= Instant::now()) {
            match waiting.next() {
                Some(address) => attempts.push(connect(address)),
                None if attempts.is_empty() => break,
                None => {}
            }
            slow = Some(Instant::now() + ATTEMPT_DELAY);
        }
        let pause = slow
            .filter(|_| waiting.len() > 0)
            .map_or(deadline, |at| at.min(deadline));
        match time::timeout_at(pause, attempts.next()).await {
            Ok(Some((_, Ok(stream)))) => {
                // Probes are single small writes: waiting to coalesce them would only be measured as latency.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Some((address, Err(error)))) => {
                let error = NetError::from_io(&error, &address.to_string());
                // A host without IPv6 fails those attempts at once: the other family's story is the telling one.
                if first_error
                    .as_ref()
                    .is_none_or(|first| rank(&error) > rank(first))
                {
                    first_error = Some(error);
                }
                slow = None;
            }
            Ok(None) => break,
            Err(_) if Instant::now() >= deadline => {
                return Err(NetError::ConnectTimeout(target));
            }
            Err(_) => {}
        }
    }
    let error = first_error.unwrap_or_else(|| NetError::Unreachable("no address".to_owned()));
    Err(found.failure(error))
}

/// How much an error tells of the target: what our own machine lacks tells nothing, no route a little.
pub(super) fn rank(error: &NetError) -> u8 {
    match error {
        error if !error.blames_target() => 0,
        NetError::Unreachable(_) => 1,
        _ => 2,
    }
}

async fn connect(address: SocketAddr) -> (SocketAddr, io::Result<TcpStream>) {
    (address, TcpStream::connect(address).await)
}

/// Families in turn, beginning with the first address's, the order within a family kept (RFC 8305 §4).
fn alternate(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let v6_first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, others): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| a.is_ipv6() == v6_first);
    let (mut preferred, mut others) = (preferred.into_iter(), others.into_iter());
    let mut order = Vec::new();
    loop {
        match (preferred.next(), others.next()) {
            (None, None) => return order,
            pair => order.extend([pair.0, pair.1].into_iter().flatten()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_target_did_outranks_what_our_machine_lacks() {
        let rank = |code| rank(&NetError::from_io(&io::Error::from_raw_os_error(code), "t"));
        let (refused, no_route, no_address, no_family) = (rank(111), rank(101), rank(99), rank(97));
        assert!(refused > no_route && no_route > no_address && no_address == no_family);
    }

    #[test]
    fn families_alternate_from_the_first() {
        let parse = |list: &[&str]| {
            list.iter()
                .map(|a| a.parse().unwrap())
                .collect::<Vec<SocketAddr>>()
        };
        let order = alternate(parse(&[
            "[::1]:1",
            "[::2]:1",
            "[::3]:1",
            "1.1.1.1:1",
            "2.2.2.2:1",
        ]));
        assert_eq!(
            order,
            parse(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"])
        );
    }
}
