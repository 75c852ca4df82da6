//! A TCP server that gives back what it gets (RFC 862).

use tokio::{io, net::TcpListener};

pub(crate) async fn serve(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let (mut reader, mut writer) = stream.split();
            io::copy(&mut reader, &mut writer).await
        });
    }
}
