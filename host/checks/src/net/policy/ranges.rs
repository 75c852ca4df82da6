//! What the ranges of the address space mean, and which addresses are hidden inside others.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far an address reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Anywhere.
    Global,
    /// Not beyond some private or special network, named here.
    Local(&'static str),
    /// Link-local networks and the places where clouds serve machine credentials.
    Metadata(&'static str),
}

/// Names under which clouds serve machine credentials. Their addresses are covered by [`reach`]; the names matter
/// where somebody else resolves them.
pub(super) const METADATA_NAMES: &[&str] = &[
    "metadata.google.internal",
    "metadata.goog",
    "metadata.tencentyun.com",
    "instance-data.ec2.internal",
];

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6(head: [u16; 4], last: u16, prefix: u8) -> IpNet {
    let [a, b, c, d] = head;
    IpNet::V6(Ipv6Net::new_assert(
        Ipv6Addr::new(a, b, c, d, 0, 0, 0, last),
        prefix,
    ))
}

/// As the clouds' documentation has them: AWS (`169.254.169.254`, `fd00:ec2::254`; EKS `fd00:ec2::23`), Google
/// (`fd20:ce::254`), Alibaba (`100.100.100.200`), Oracle (`192.0.0.192`), Azure's host channel (`168.63.129.16`),
/// Scaleway (`fd00:42::42`). Most others use `169.254.169.254`, too.
const METADATA: &[(IpNet, &str)] = &[
    (
        v4(169, 254, 0, 0, 16),
        "169.254.0.0/16 (link-local, cloud metadata)",
    ),
    (v6([0xfe80, 0, 0, 0], 0, 10), "fe80::/10 (link-local)"),
    (
        v6([0xfd00, 0xec2, 0, 0], 0x254, 128),
        "fd00:ec2::254 (cloud metadata)",
    ),
    (
        v6([0xfd00, 0xec2, 0, 0], 0x23, 128),
        "fd00:ec2::23 (cloud metadata)",
    ),
    (
        v6([0xfd20, 0xce, 0, 0], 0x254, 128),
        "fd20:ce::254 (cloud metadata)",
    ),
    (
        v6([0xfd00, 0x42, 0, 0], 0x42, 128),
        "fd00:42::42 (cloud metadata)",
    ),
    (v4(100, 100, 100, 200, 32), "100.100.100.200 (cloud metadata)"),
    (v4(192, 0, 0, 192, 32), "192.0.0.192 (cloud metadata)"),
    (v4(168, 63, 129, 16, 32), "168.63.129.16 (cloud metadata)"),
];

/// IANA's special-purpose address registries (RFC 6890): what is not globally reachable unicast.
const LOCAL: &[(IpNet, &str)] = &[
    (v4(0, 0, 0, 0, 8), "0.0.0.0/8 (this host)"),
    (v4(10, 0, 0, 0, 8), "10.0.0.0/8 (private)"),
    (v4(100, 64, 0, 0, 10), "100.64.0.0/10 (shared)"),
    (v4(127, 0, 0, 0, 8), "127.0.0.0/8 (loopback)"),
    (v4(172, 16, 0, 0, 12), "172.16.0.0/12 (private)"),
    (v4(192, 0, 0, 0, 24), "192.0.0.0/24 (protocol assignments)"),
    (v4(192, 0, 2, 0, 24), "192.0.2.0/24 (documentation)"),
    (v4(192, 88, 99, 0, 24), "192.88.99.0/24 (6to4 relays)"),
    (v4(192, 168, 0, 0, 16), "192.168.0.0/16 (private)"),
    (v4(198, 18, 0, 0, 15), "198.18.0.0/15 (benchmarks)"),
    (v4(198, 51, 100, 0, 24), "198.51.100.0/24 (documentation)"),
    (v4(203, 0, 113, 0, 24), "203.0.113.0/24 (documentation)"),
    (v4(224, 0, 0, 0, 4), "224.0.0.0/4 (multicast)"),
    (v4(240, 0, 0, 0, 4), "240.0.0.0/4 (reserved, broadcast)"),
    (v6([0, 0, 0, 0], 1, 128), "::1 (loopback)"),
    (v6([0, 0, 0, 0], 0, 128), ":: (this host)"),
    (v6([0xfc00, 0, 0, 0], 0, 7), "fc00::/7 (unique local)"),
    (v6([0xff00, 0, 0, 0], 0, 8), "ff00::/8 (multicast)"),
    (v6([0x2001, 0, 0, 0], 0, 23), "2001::/23 (protocol assignments)"),
    (v6([0x2001, 0xdb8, 0, 0], 0, 32), "2001:db8::/32 (documentation)"),
    (v6([0x2002, 0, 0, 0], 0, 16), "2002::/16 (6to4)"),
    (v6([0x3fff, 0, 0, 0], 0, 20), "3fff::/20 (documentation)"),
];

/// All of IPv6 that IANA has opened for global unicast.
const GLOBAL_V6: IpNet = v6([0x2000, 0, 0, 0], 0, 3);

/// How far `address` (canonical) reaches.
pub(super) fn reach(address: IpAddr) -> Reach {
    let find = |table: &[(IpNet, &'static str)]| {
        table
            .iter()
            .find(|(range, _)| range.contains(&address))
            .map(|&(_, name)| name)
    };
    if let Some(name) = find(METADATA) {
        Reach::Metadata(name)
    } else if let Some(name) = find(LOCAL) {
        Reach::Local(name)
    } else if address.is_ipv6() && !GLOBAL_V6.contains(&address) {
        Reach::Local("IPv6 outside 2000::/3 (not global unicast)")
    } else {
        Reach::Global
    }
}

/// The range of an address that must be meant as such, because a name that leads there proves nothing: the worker
/// itself, everybody at once, link-local networks, and where clouds serve machine credentials.
pub(in crate::net) fn special(address: IpAddr) -> Option<&'static str> {
    let own = match address {
        IpAddr::V4(v4) => matches!(v4.octets(), [0 | 127 | 224.., ..]),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.is_multicast(),
    };
    match reach(address) {
        Reach::Metadata(name) => Some(name),
        Reach::Local(name) => own.then_some(name),
        Reach::Global => None,
    }
}

/// Where packets to `address` (canonical) may end: itself, or the IPv4 addresses it is a wrapping of.
pub(in crate::net) fn ends(address: IpAddr) -> Vec<IpAddr> {
    let IpAddr::V6(v6) = address else {
        return vec![address];
    };
    let bits = v6.to_bits();
    let at = |shift: u32| u32::try_from((bits >> shift) & 0xffff_ffff).unwrap_or_default();
    let inner = |bits: u32| IpAddr::V4(Ipv4Addr::from_bits(bits));
    match v6.segments() {
        // RFC 6052 §2.1 well-known prefix, RFC 8215 local-use prefix (read as /96, its usual length).
        // RFC 2765 §2.1 IPv4-translated ::ffff:0:a.b.c.d.
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] | [0x64, 0xff9b, 1, ..] | [0, 0, 0, 0, 0xffff, 0, _, _] => {
            vec![inner(at(0))]
        }
        // RFC 3056 §2: 2002:V4ADDR::/48.
        [0x2002, ..] => vec![inner(at(80))],
        // RFC 4380 §4: the server's address, then the client's with every bit flipped.
        [0x2001, 0, ..] => vec![inner(at(64)), inner(!at(0))],
        // RFC 5214 §6.1: an ISATAP interface identifier in any network, which counts, too.
        [.., 0x0000 | 0x0200, 0x5efe, _, _] => vec![address, inner(at(0))],
        // RFC 4291 §2.5.5.1 IPv4-compatible, deprecated; `::` and `::1` are not of them.
        [0, 0, 0, 0, 0, 0, high, _] if high != 0 => vec![inner(at(0))],
        _ => vec![address],
    }
}
