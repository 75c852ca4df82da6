//! A forward proxy on loopback that speaks HTTP (CONNECT and absolute form), SOCKS4, SOCKS4a and SOCKS5.

use super::server::Server;
use std::sync::{Arc, Mutex};
use tokio::{
    io::{self, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;

/// What a proxy was asked to do: `connect host:port`, `get http://…`, `socks5 name:port as user:password`, …
pub(crate) type Log = Arc<Mutex<Vec<String>>>;

pub(crate) struct Proxy {
    pub(crate) server: Server,
    log: Log,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        Self::with(None, 200).await
    }

    /// A proxy that answers every CONNECT with `code`.
    pub(crate) async fn refusing(code: u16) -> Self {
        Self::with(None, code).await
    }

    /// A proxy one speaks TLS to.
    pub(crate) async fn encrypted(acceptor: TlsAcceptor) -> Self {
        Self::with(Some(acceptor), 200).await
    }

    async fn with(tls: Option<TlsAcceptor>, code: u16) -> Self {
        let log = Log::default();
        let noted = log.clone();
        let server = Server::raw(move |stream| {
            let (log, tls) = (noted.clone(), tls.clone());
            async move {
                // A client that leaves, or a target that is not there, ends the proxy's work.
                let _ = match tls {
                    None => serve(stream, log, code).await,
                    Some(acceptor) => match acceptor.accept(stream).await {
                        Ok(stream) => serve(stream, log, code).await,
                        Err(error) => Err(error),
                    },
                };
            }
        });
        Self {
            server: server.await,
            log,
        }
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Send + Unpin>(stream: S, log: Log, code: u16) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    match stream.fill_buf().await?.first() {
        Some(5) => socks5(stream, log).await,
        Some(4) => socks4(stream, log).await,
        _ => http(stream, log, code).await,
    }
}

async fn http<S: AsyncRead + AsyncWrite + Send + Unpin>(
    mut stream: BufReader<S>,
    log: Log,
    code: u16,
) -> io::Result<()> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let header = |name: &str| {
        let line = head
            .lines()
            .find(|line| line.to_ascii_lowercase().starts_with(name));
        line.and_then(|line| line.split_once(": "))
            .map_or("", |(_, value)| value)
            .to_owned()
    };
    let mut words = head.split(' ');
    let (method, target) = (
        words.next().unwrap_or_default().to_ascii_lowercase(),
        words.next().unwrap_or_default(),
    );
    log.lock().unwrap().push(
        format!("{method} {target} {}", header("proxy-authorization"))
            .trim()
            .to_owned(),
    );
    if method != "connect" {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nVia: test\r\n\r\nproxied";
        return stream.write_all(answer.as_bytes()).await;
    }
    if code != 200 {
        return stream
            .write_all(format!("HTTP/1.1 {code} No\r\nContent-Length: 0\r\n\r\n").as_bytes())
            .await;
    }
    let mut onward = TcpStream::connect(target).await?;
    stream
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .await?;
    io::copy_bidirectional(&mut stream, &mut onward).await.map(drop)
}

async fn socks5<S: AsyncRead + AsyncWrite + Send + Unpin>(
    mut stream: BufReader<S>,
    log: Log,
) -> io::Result<()> {
    stream.read_u8().await?;
    let mut methods = vec![0; usize::from(stream.read_u8().await?)];
    stream.read_exact(&mut methods).await?;
    let mut who = String::new();
    if methods.contains(&2) {
        stream.write_all(&[5, 2]).await?;
        stream.read_u8().await?;
        let user = text(&mut stream).await?;
        who = format!(" as {user}:{}", text(&mut stream).await?);
        stream.write_all(&[1, 0]).await?;
    } else {
        stream.write_all(&[5, 0]).await?;
    }
    let mut request = [0; 4];
    stream.read_exact(&mut request).await?;
    let host = match request[3] {
        1 => std::net::Ipv4Addr::from(stream.read_u32().await?).to_string(),
        3 => text(&mut stream).await?,
        _ => format!("[{}]", std::net::Ipv6Addr::from(stream.read_u128().await?)),
    };
    let target = format!("{host}:{}", stream.read_u16().await?);
    log.lock().unwrap().push(format!("socks5 {target}{who}"));
    let onward = TcpStream::connect(target).await;
    let code = if onward.is_ok() { 0 } else { 5 };
    stream.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    io::copy_bidirectional(&mut stream, &mut onward?).await.map(drop)
}

async fn socks4<S: AsyncRead + AsyncWrite + Send + Unpin>(
    mut stream: BufReader<S>,
    log: Log,
) -> io::Result<()> {
    stream.read_u16().await?;
    let port = stream.read_u16().await?;
    let address = std::net::Ipv4Addr::from(stream.read_u32().await?);
    let user = line(&mut stream).await?;
    let (version, host) = match address.octets() {
        [0, 0, 0, last] if last != 0 => ("socks4a", line(&mut stream).await?),
        _ => ("socks4", address.to_string()),
    };
    let target = format!("{host}:{port}");
    log.lock().unwrap().push(format!("{version} {target} as {user}"));
    let mut onward = TcpStream::connect(target).await?;
    stream.write_all(&[0, 90, 0, 0, 0, 0, 0, 0]).await?;
    io::copy_bidirectional(&mut stream, &mut onward).await.map(drop)
}

/// A text behind its length.
async fn text<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> io::Result<String> {
    let mut bytes = vec![0; usize::from(stream.read_u8().await?)];
    stream.read_exact(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A text before a zero.
async fn line<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> io::Result<String> {
    let mut bytes = Vec::new();
    stream.read_until(0, &mut bytes).await?;
    bytes.pop();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
