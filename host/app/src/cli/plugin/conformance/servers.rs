//! Servers that nobody should trust, on loopback: TCP and UDP on one port, for whatever the plugin speaks.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

/// How a server treats its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Nobody listens.
    Refuses,
    /// Accepts and says nothing.
    Hangs,
    /// Accepts and closes at once; an empty datagram.
    Closes,
    /// Accepts and resets.
    Resets,
    /// Random bytes, then the end.
    TalksNonsense,
    /// One line that never ends.
    EndlessLine,
    /// Short lines without end, as of many protocols.
    EndlessLines,
    /// The beginning of a sound answer, then the end.
    StopsHalfway,
    /// Sends back what it gets.
    Echoes,
    /// A byte now and then.
    Drips,
    /// HTTP's 200 with JSON that has nothing in it.
    AnswersNull,
    /// HTTP's 200 with a page where data was asked for.
    AnswersHtml,
    /// HTTP's 500.
    Fails,
    /// HTTP's 302, to itself.
    Redirects,
}

impl Manner {
    pub(crate) const ALL: [Self; 14] = [
        Self::Refuses,
        Self::Hangs,
        Self::Closes,
        Self::Resets,
        Self::TalksNonsense,
        Self::EndlessLine,
        Self::EndlessLines,
        Self::StopsHalfway,
        Self::Echoes,
        Self::Drips,
        Self::AnswersNull,
        Self::AnswersHtml,
        Self::Fails,
        Self::Redirects,
    ];

    /// As the table names it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Refuses => "refuses connections",
            Self::Hangs => "says nothing",
            Self::Closes => "closes at once",
            Self::Resets => "resets",
            Self::TalksNonsense => "talks nonsense",
            Self::EndlessLine => "sends a line without end",
            Self::EndlessLines => "sends lines without end",
            Self::StopsHalfway => "stops halfway",
            Self::Echoes => "echoes",
            Self::Drips => "sends a byte now and then",
            Self::AnswersNull => "answers HTTP 200 with `null`",
            Self::AnswersHtml => "answers HTTP 200 with a page",
            Self::Fails => "answers HTTP 500",
            Self::Redirects => "redirects to itself",
        }
    }
}

/// A running server; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Connections and datagrams that came.
    visits: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Starts one on a free port.
    pub(crate) async fn start(manner: Manner) -> io::Result<Self> {
        let (tcp, udp) = ports().await?;
        let address = tcp.local_addr()?;
        let mut tasks = JoinSet::new();
        let visits: Arc<AtomicUsize> = Arc::default();
        if manner != Manner::Refuses {
            tasks.spawn(accept(tcp, manner, visits.clone()));
            tasks.spawn(answer(udp, manner, visits.clone()));
        }
        Ok(Self {
            address,
            visits,
            _tasks: tasks,
        })
    }

    /// Whether anybody came.
    pub(crate) fn was_visited(&self) -> bool {
        self.visits.load(Relaxed) > 0
    }
}

/// A port that is free for both.
async fn ports() -> io::Result<(TcpListener, UdpSocket)> {
    let mut last = None;
    for _ in 0..20 {
        let tcp = TcpListener::bind("127.0.0.1:0").await?;
        match UdpSocket::bind(tcp.local_addr()?).await {
            Ok(udp) => return Ok((tcp, udp)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

async fn accept(listener: TcpListener, manner: Manner, visits: Arc<AtomicUsize>) {
    let mut clients = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        visits.fetch_add(1, Relaxed);
        // How it ends is the client's affair.
        clients.spawn(async move { treat(stream, manner).await.ok() });
    }
}

async fn treat(mut stream: TcpStream, manner: Manner) -> io::Result<()> {
    match manner {
        Manner::Refuses | Manner::Closes => {}
        Manner::Hangs => hold(&mut stream).await,
        Manner::Resets => stream.set_zero_linger()?,
        Manner::TalksNonsense => stream.write_all(&nonsense(64 << 10)).await?,
        Manner::EndlessLine => loop {
            stream.write_all(&[b'A'; 16 << 10]).await?;
        },
        Manner::EndlessLines => loop {
            stream.write_all(&b"200 OK\r\n".repeat(1 << 10)).await?;
        },
        Manner::StopsHalfway => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{\"a\": [")
                .await?;
        }
        Manner::Echoes => {
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await?;
        }
        Manner::Drips => loop {
            stream.write_all(b"2").await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        },
        Manner::AnswersNull => http(&mut stream, "200 OK", "application/json", "null").await?,
        Manner::AnswersHtml => {
            http(
                &mut stream,
                "200 OK",
                "text/html",
                "<!doctype html><title>Sign in</title>",
            )
            .await?;
        }
        Manner::Fails => http(&mut stream, "500 Internal Server Error", "text/plain", "").await?,
        Manner::Redirects => http(&mut stream, "302 Found\r\nLocation: /", "text/plain", "").await?,
    }
    Ok(())
}

/// Answers what comes first, with this status line (and more of the head), type and body.
async fn http(stream: &mut TcpStream, status: &str, content: &str, body: &str) -> io::Result<()> {
    if stream.read(&mut [0; 1 << 10]).await? == 0 {
        return Ok(());
    }
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {content}\r\nContent-Length: {length}\r\n");
    let answer = format!("{head}Connection: close\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    hold(stream).await;
    Ok(())
}

/// Until the client goes.
async fn hold(stream: &mut TcpStream) {
    let mut sink = [0; 1 << 10];
    while stream.read(&mut sink).await.is_ok_and(|bytes| bytes > 0) {}
}

async fn answer(socket: UdpSocket, manner: Manner, visits: Arc<AtomicUsize>) {
    let mut datagram = [0; 2 << 10];
    while let Ok((length, client)) = socket.recv_from(&mut datagram).await {
        visits.fetch_add(1, Relaxed);
        let asked = datagram.get(..length).unwrap_or_default();
        let (answer, times) = match manner {
            // HTTP is spoken by TCP alone.
            Manner::Refuses
            | Manner::Hangs
            | Manner::Resets
            | Manner::AnswersNull
            | Manner::AnswersHtml
            | Manner::Fails
            | Manner::Redirects => (Vec::new(), 0),
            Manner::Closes => (Vec::new(), 1),
            Manner::TalksNonsense => (nonsense(512), 1),
            Manner::EndlessLine => (vec![b'A'; 1400], 200),
            Manner::EndlessLines => (b"200 OK\r\n".repeat(100), 200),
            Manner::StopsHalfway => (asked.get(..length / 2).unwrap_or_default().to_vec(), 1),
            Manner::Echoes => (asked.to_vec(), 1),
            Manner::Drips => (vec![b'2'], 1),
        };
        for _ in 0..times {
            let _ = socket.send_to(&answer, client).await;
        }
    }
}

/// The same bytes each time, so that what a plugin makes of them can be seen again (xorshift).
fn nonsense(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}
