//! Things to probe, on loopback.

use axum::{Router, http::StatusCode, routing::get};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

/// `/ok` 200, `/page` HTML, `/broken` 503, `/status` JSON, `/slow/{ms}` late.
pub(crate) async fn http() -> SocketAddr {
    let slow = async |axum::extract::Path(ms): axum::extract::Path<u64>| {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        "late"
    };
    let app = Router::new()
        .route("/ok", get(async || "all is well"))
        .route("/page", get(async || axum::response::Html("<html></html>")))
        .route("/large", get(async || "x".repeat(1 << 20)))
        .route("/broken", get(async || StatusCode::SERVICE_UNAVAILABLE))
        .route(
            "/status",
            get(async || r#"{"status":{"indicator":"none"},"load":3}"#),
        )
        .route("/slow/{ms}", get(slow));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Accepts and says nothing.
pub(crate) async fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    address
}

/// A port nobody listens on.
pub(crate) async fn closed() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("bound")
}

/// A mail server as far as EHLO and QUIT.
pub(crate) async fn smtp() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (read, mut write) = stream.into_split();
                let mut lines = BufReader::new(read).lines();
                write.write_all(b"220 mail.test ESMTP ready\r\n").await?;
                while let Some(line) = lines.next_line().await? {
                    let answer: &[u8] = match line.split(' ').next().unwrap_or("") {
                        "EHLO" => b"250-mail.test\r\n250-STARTTLS\r\n250 SIZE 1000000\r\n",
                        "QUIT" => b"221 bye\r\n",
                        _ => b"502 what?\r\n",
                    };
                    write.write_all(answer).await?;
                }
                std::io::Result::Ok(())
            });
        }
    });
    address
}

/// Says this to whoever connects, when they said something, and closes.
pub(crate) async fn answers(words: &'static [u8]) -> SocketAddr {
    talks(true, words).await
}

/// Says this to whoever connects, and closes.
pub(crate) async fn says(words: &'static [u8]) -> SocketAddr {
    talks(false, words).await
}

async fn talks(listens_first: bool, words: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if listens_first {
                let _ = stream.read(&mut [0; 4096]).await;
            }
            let _ = stream.write_all(words).await;
        }
    });
    address
}
