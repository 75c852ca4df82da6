//! A wire to Redis that can lose one answer after the command ran.

use std::{
    io,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

pub(crate) struct Proxy {
    port: u16,
    loses: Arc<Mutex<Option<Vec<u8>>>>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let loses = Arc::new(Mutex::new(None));
        let own = listener.local_addr().unwrap().port();
        let shared = loses.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, port, shared.clone()));
            }
        });
        Self {
            port: own,
            loses,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// The answer to the next command with `words` in it is lost, and its connection with it.
    pub(crate) fn lose_answer_to(&self, words: &str) {
        *self.loses.lock().unwrap() = Some(words.as_bytes().to_vec());
    }

    pub(crate) fn has_lost(&self) -> bool {
        self.loses.lock().unwrap().is_none()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(mut client: TcpStream, port: u16, loses: Arc<Mutex<Option<Vec<u8>>>>) -> io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut asked, mut answered) = ([0; 8192], [0; 8192]);
    let mut doomed = false;
    loop {
        tokio::select! {
            count = client.read(&mut asked) => {
                let bytes = &asked[..count?];
                if bytes.is_empty() {
                    return Ok(());
                }
                doomed |= is_lost(&loses, bytes);
                server.write_all(bytes).await?;
            }
            count = server.read(&mut answered) => {
                let count = count?;
                if count == 0 || doomed {
                    return Ok(());
                }
                client.write_all(&answered[..count]).await?;
            }
        }
    }
}

/// Whether these bytes ask for what is to be lost.
fn is_lost(loses: &Mutex<Option<Vec<u8>>>, bytes: &[u8]) -> bool {
    let mut loses = loses.lock().unwrap();
    let asked = |words: &Vec<u8>| bytes.windows(words.len()).any(|part| part == words);
    let lost = loses.as_ref().is_some_and(asked);
    if lost {
        *loses = None;
    }
    lost
}
