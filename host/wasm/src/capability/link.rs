//! A socket with its read buffer: the blocking-style operations of the `tcp` interface.

use super::tcp::Extent;
use bytes::{BufMut, BytesMut};
use lapwing_checks::net::NetError;
use memchr::memmem;
use std::io;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::client::TlsStream;

/// How much is read at once.
const CHUNK: usize = 16 << 10;

/// One open connection.
#[derive(Debug)]
pub(crate) struct Link {
    stream: Stream,
    buffer: BytesMut,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

impl Link {
    pub(crate) fn plain(stream: TcpStream) -> Self {
        Self {
            stream: Stream::Plain(stream),
            buffer: BytesMut::new(),
        }
    }

    pub(crate) fn tls(stream: TlsStream<TcpStream>) -> Self {
        Self {
            stream: Stream::Tls(Box::new(stream)),
            buffer: BytesMut::new(),
        }
    }

    /// The socket, for a handshake. Bytes that came before it would pass for encrypted ones (the STARTTLS injection of
    /// CVE-2011-0411), so a link with unread bytes is given back; so is one that is encrypted already.
    pub(crate) fn into_plain(self) -> Result<TcpStream, Self> {
        match self.stream {
            Stream::Plain(stream) if self.buffer.is_empty() => Ok(stream),
            _ => Err(self),
        }
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    pub(crate) async fn write_all(&mut self, data: &[u8], deadline: Instant) -> Result<(), NetError> {
        let write = async {
            let stream = self.duplex();
            stream.write_all(data).await?;
            stream.flush().await
        };
        within(deadline, "sending", write).await
    }

    pub(crate) async fn shutdown(&mut self, deadline: Instant) -> Result<(), NetError> {
        within(deadline, "closing", self.duplex().shutdown()).await
    }

    /// Reads at most `max` bytes as `extent` says. Bytes that are not handed out stay for the next read, also after a
    /// time-out. What arrives is taken from `quota`; `None` when that is used up before the read is complete. A search in
    /// vain counts as if its bytes came once more: the next one begins anew, and none of it is the guest's own time. With no
    /// quota left the bytes themselves go.
    pub(crate) async fn read(
        &mut self,
        extent: &Extent,
        max: usize,
        quota: &mut usize,
        deadline: Instant,
    ) -> Result<Option<Vec<u8>>, NetError> {
        let result = self.read_some(extent, max, quota, deadline).await;
        if matches!(extent, Extent::Until(_)) && !matches!(result, Ok(Some(_))) {
            if *quota == 0 {
                self.buffer.clear();
            }
            *quota = quota.saturating_sub(self.buffer.len().min(max));
        }
        result
    }

    async fn read_some(
        &mut self,
        extent: &Extent,
        max: usize,
        quota: &mut usize,
        deadline: Instant,
    ) -> Result<Option<Vec<u8>>, NetError> {
        let mut searched = 0;
        loop {
            if let Some(length) = extent.complete(&self.buffer, searched, max)? {
                return Ok(Some(self.buffer.split_to(length).to_vec()));
            }
            if *quota == 0 {
                return Ok(None);
            }
            searched = self.buffer.len();
            let arrived = self.fill(*quota, deadline).await?;
            *quota = quota.saturating_sub(arrived);
            if arrived == 0 {
                return match extent {
                    Extent::Some => Ok(Some(Vec::new())),
                    _ => Err(NetError::Closed(
                        "the peer closed the connection before it was done".into(),
                    )),
                };
            }
        }
    }

    /// Reads what there is, at most `limit` bytes; zero at the end of the stream.
    async fn fill(&mut self, limit: usize, deadline: Instant) -> Result<usize, NetError> {
        let Self { stream, buffer } = self;
        buffer.reserve(CHUNK);
        let mut buffer = buffer.limit(limit);
        let read = async {
            match stream {
                Stream::Plain(stream) => stream.read_buf(&mut buffer).await,
                Stream::Tls(stream) => stream.read_buf(&mut buffer).await,
            }
        };
        match within(deadline, "reading", read).await {
            // A peer that closes TLS without saying so, as many do.
            Err(NetError::Closed(_)) => Ok(0),
            result => result,
        }
    }

    fn duplex(&mut self) -> &mut dyn Duplex {
        match &mut self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream,
        }
    }
}

impl Extent {
    /// How many of the buffered bytes make up the answer, if they do. No delimiter ends within the first `searched`.
    fn complete(&self, buffer: &[u8], searched: usize, max: usize) -> Result<Option<usize>, NetError> {
        match self {
            Self::Some => Ok((!buffer.is_empty() || max == 0).then(|| buffer.len().min(max))),
            Self::All => Ok((buffer.len() >= max).then_some(max)),
            Self::Until(delimiter) if delimiter.is_empty() => {
                Err(NetError::InvalidInput("`read-until` needs a delimiter".into()))
            }
            Self::Until(delimiter) => {
                let window = buffer.get(..max).unwrap_or(buffer);
                let from = searched.saturating_sub(delimiter.len() - 1);
                let fresh = window.get(from..).unwrap_or_default();
                match memmem::find(fresh, delimiter) {
                    Some(position) => Ok(Some(from + position + delimiter.len())),
                    None if buffer.len() >= max => {
                        Err(NetError::Protocol(format!("no delimiter within {max} bytes")))
                    }
                    None => Ok(None),
                }
            }
        }
    }
}

/// `work` until the deadline, its errors in our words.
async fn within<T>(
    deadline: Instant,
    what: &str,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, NetError> {
    match timeout_at(deadline, work).await {
        Ok(result) => result.map_err(|error| NetError::from_io(&error, what)),
        Err(_) => Err(NetError::ResponseTimeout(format!("{what} took too long"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(buffer: &str, max: usize) -> Result<Option<usize>, NetError> {
        Extent::Until(b"\r\n".to_vec()).complete(buffer.as_bytes(), 0, max)
    }

    #[test]
    fn a_line_ends_with_its_delimiter() {
        assert_eq!(until("220 hi\r\nmore", 100), Ok(Some(8)));
        assert_eq!(until("220 hi\r", 100), Ok(None));
        assert_eq!(until("220 hi\r\n", 8), Ok(Some(8)));
        assert!(
            until("220 hi\r\n", 7).is_err(),
            "the delimiter must lie within the limit"
        );
        assert!(Extent::Until(Vec::new()).complete(b"x", 0, 1).is_err());
    }

    #[test]
    fn only_what_is_new_is_searched() {
        let until = Extent::Until(b"abc".to_vec());
        assert_eq!(
            until.complete(b"xxabcx", 4, 100),
            Ok(Some(5)),
            "half of it was there"
        );
        assert_eq!(
            until.complete(b"abcxxx", 5, 100),
            Ok(None),
            "searched before, not again"
        );
    }

    #[tokio::test]
    async fn bytes_count_when_they_arrive() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        peer.write_all(&[b'x'; 100]).await.unwrap();
        let deadline = Instant::now() + std::time::Duration::from_secs(10);
        let mut link = Link::plain(stream);
        let mut quota = 30;
        let read = link.read(&Extent::All, 50, &mut quota, deadline).await;
        assert_eq!((read, quota), (Ok(None), 0));
        assert_eq!(link.buffer.len(), 30, "no more than the quota is held");
        let kept = link.read(&Extent::All, 30, &mut quota, deadline).await;
        assert_eq!(kept, Ok(Some(vec![b'x'; 30])), "paid for already");
    }

    #[tokio::test]
    async fn a_search_in_vain_is_paid_for_each_time() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        peer.write_all(&[b'x'; 100]).await.unwrap();
        let deadline = Instant::now() + std::time::Duration::from_secs(10);
        let (mut link, until) = (Link::plain(stream), Extent::Until(b"\n".to_vec()));
        let mut quota = 250;
        for left in [50, 0] {
            let read = link.read(&until, 100, &mut quota, deadline).await;
            assert!(matches!(read, Err(NetError::Protocol(_))), "{read:?}");
            assert_eq!(quota, left, "100 arrived, and each search is 100");
        }
        let found = link
            .read(&Extent::Until(b"x".to_vec()), 100, &mut quota, deadline)
            .await;
        assert_eq!(
            (found, quota),
            (Ok(Some(vec![b'x'])), 0),
            "what is found is paid for"
        );
        let read = link.read(&until, 1000, &mut quota, deadline).await;
        assert_eq!(read, Ok(None));
        assert!(
            link.buffer.is_empty(),
            "nothing is left to be searched for nothing"
        );
    }

    #[test]
    fn counts_and_availability() {
        assert_eq!(Extent::All.complete(b"abc", 0, 4), Ok(None));
        assert_eq!(Extent::All.complete(b"abcde", 0, 4), Ok(Some(4)));
        assert_eq!(Extent::All.complete(b"", 0, 0), Ok(Some(0)));
        assert_eq!(Extent::Some.complete(b"", 0, 4), Ok(None));
        assert_eq!(Extent::Some.complete(b"abcde", 0, 4), Ok(Some(4)));
        assert_eq!(
            Extent::Some.complete(b"", 0, 0),
            Ok(Some(0)),
            "nothing asked for, nothing waited for"
        );
    }
}
