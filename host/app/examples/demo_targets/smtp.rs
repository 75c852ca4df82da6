//! A mail server that greets, announces its extensions and speaks STARTTLS; it takes no mail (RFC 5321, RFC 3207).

use std::{io, sync::Arc};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, rustls};

/// Longest command line read (RFC 5321 §4.5.3.1.4 says 512).
const MAX_LINE: u64 = 1024;

/// TLS with a certificate made for this run, which nobody trusts.
pub(crate) fn acceptor() -> anyhow::Result<TlsAcceptor> {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

pub(crate) async fn serve(listener: TcpListener, tls: TlsAcceptor) {
    while let Ok((stream, _)) = listener.accept().await {
        // A client that leaves in the middle is its own business.
        tokio::spawn(session(stream, tls.clone()));
    }
}

async fn session(stream: TcpStream, tls: TlsAcceptor) -> io::Result<()> {
    let mut plain = BufStream::new(stream);
    say(&mut plain, "220 demo.localhost ESMTP Lapwing").await?;
    if converse(&mut plain, Some("STARTTLS")).await? == Next::Encrypt {
        let mut encrypted = BufStream::new(tls.accept(plain.into_inner()).await?);
        converse(&mut encrypted, None).await?;
    }
    Ok(())
}

#[derive(PartialEq, Eq)]
enum Next {
    Encrypt,
    End,
}

/// Answers commands until the client leaves, or wants TLS where `starttls` is on offer.
async fn converse<S>(stream: &mut BufStream<S>, starttls: Option<&str>) -> io::Result<Next>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let mut line = String::new();
        if (&mut *stream).take(MAX_LINE).read_line(&mut line).await? == 0 {
            return Ok(Next::End);
        }
        let verb = line
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => {
                let offered = [
                    "demo.localhost",
                    "SIZE 10485760",
                    "8BITMIME",
                    "PIPELINING",
                    "AUTH PLAIN LOGIN",
                ];
                let lines: Vec<&str> = offered.into_iter().chain(starttls).collect();
                for line in &lines {
                    stream.write_all(format!("250-{line}\r\n").as_bytes()).await?;
                }
                say(stream, "250 HELP").await?;
            }
            "HELO" => say(stream, "250 demo.localhost").await?,
            "STARTTLS" if starttls.is_some() => {
                say(stream, "220 go ahead").await?;
                return Ok(Next::Encrypt);
            }
            "NOOP" | "RSET" => say(stream, "250 ok").await?,
            "QUIT" => {
                say(stream, "221 bye").await?;
                return Ok(Next::End);
            }
            _ => say(stream, "502 not here").await?,
        }
    }
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufStream<S>, line: &str) -> io::Result<()> {
    stream.write_all(line.as_bytes()).await?;
    stream.write_all(b"\r\n").await?;
    stream.flush().await
}
