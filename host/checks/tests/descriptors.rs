//! A worker without a free file descriptor blames itself, not its targets, and recovers. In a process of its own,
//! because the shortage is the whole process's.

#![expect(clippy::unwrap_used, reason = "a test fails so")]

use lapwing_checks::{
    Net,
    net::{EgressPolicy, IpFamily, NetError, tls::TlsOptions},
};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::{fs::File, net::SocketAddr, time::Duration};
use tokio::time::Instant;

fn policy() -> EgressPolicy {
    serde_json::from_str(r#"{"mode": "open"}"#).unwrap()
}

/// Every descriptor this process may still have.
fn hoard() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[tokio::test]
async fn a_shortage_of_descriptors_is_ours_and_passes() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(64);
    setrlimit(Resource::Nofile, limit).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let has_roots = !rustls_native_certs::load_native_certs().certs.is_empty();
    let early = Net::with_name_servers(policy(), &[SocketAddr::from(([127, 0, 0, 1], 9))]);

    let hoarded = hoard();
    let late = Net::new(policy());
    for (net, name) in [(&early, "x.example"), (&late, "localhost")] {
        let error = net.resolve(name, None, IpFamily::V4, deadline).await.unwrap_err();
        assert!(matches!(error, NetError::Local(_)), "{error:?}");
    }
    let error = late.query("x.example", "A", None, deadline).await.unwrap_err();
    assert!(matches!(error, NetError::Local(_)), "{error:?}");
    // The peer hangs up: with roots to judge it by, that is what is seen of it.
    let options = TlsOptions::default();
    let handshake = async || {
        let stream = tokio::io::duplex(1024).0;
        late.handshake(stream, "x.example", &options, deadline)
            .await
            .unwrap_err()
    };
    if has_roots {
        let error = handshake().await;
        assert!(matches!(error, NetError::Local(_)), "{error:?}");
    }

    drop(hoarded);
    late.resolve("localhost", None, IpFamily::V4, deadline)
        .await
        .unwrap();
    let error = handshake().await;
    assert!(error.blames_target(), "{error:?}");
}
