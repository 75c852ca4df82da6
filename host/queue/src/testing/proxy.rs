//! A way to a server that takes its time, or loses an answer.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// A TCP proxy on 127.0.0.1 before a server there. Without settings it only passes on.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    rules: Arc<Rules>,
}

#[derive(Debug)]
struct Rules {
    target: u16,
    delay: Mutex<Duration>,
    needle: Mutex<Option<Vec<u8>>>,
    swallowed: AtomicUsize,
    closed: AtomicBool,
}

#[expect(clippy::expect_used, reason = "a test's fixture has nobody to tell")]
impl Proxy {
    /// Listens on a free port before the server on port `target`.
    pub fn start(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener
            .local_addr()
            .expect("a bound socket has an address")
            .port();
        let rules = Arc::new(Rules {
            target,
            delay: Mutex::default(),
            needle: Mutex::default(),
            swallowed: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        });
        let accepting = rules.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.closed.load(Ordering::Relaxed) {
                    return;
                }
                // A client whose server is away sees its connection closed.
                let _ = accepting.serve(&client);
            }
        });
        Self { port, rules }
    }

    /// `redis://127.0.0.1:port/0`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// From now on, every answer comes so much later; as many may be under way as want.
    pub fn delay(&self, delay: Duration) {
        *lock(&self.rules.delay) = delay;
    }

    /// The next request that holds these bytes reaches the server and is done there, but its answer never comes back:
    /// the connection breaks instead.
    pub fn swallow(&self, request: &[u8]) {
        *lock(&self.rules.needle) = Some(request.to_owned());
    }

    /// How many answers were swallowed.
    pub fn swallowed(&self) -> usize {
        self.rules.swallowed.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.rules.closed.store(true, Ordering::Relaxed);
        // Wakes whoever accepts.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Rules {
    /// Serves one connection on threads that end with it.
    fn serve(self: &Arc<Self>, client: &TcpStream) -> std::io::Result<()> {
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, self.target))?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let doomed = Arc::new(AtomicBool::new(false));
        let requests = (
            self.clone(),
            client.try_clone()?,
            server.try_clone()?,
            doomed.clone(),
        );
        thread::spawn(move || {
            let (rules, client, server, doomed) = requests;
            let _ = rules.pass_requests(&client, &server, &doomed);
            close(&client, &server);
        });
        let (due, answers) = mpsc::channel::<(Instant, Vec<u8>)>();
        let late = client.try_clone()?;
        #[expect(clippy::disallowed_methods, reason = "a thread of its own")]
        thread::spawn(move || {
            for (at, bytes) in answers {
                thread::sleep(at.saturating_duration_since(Instant::now()));
                if (&late).write_all(&bytes).is_err() {
                    return;
                }
            }
            let _ = late.shutdown(Shutdown::Both);
        });
        let rules = self.clone();
        thread::spawn(move || {
            let _ = rules.pass_answers(&server, &due, &doomed);
            let _ = server.shutdown(Shutdown::Both);
        });
        Ok(())
    }

    fn pass_requests(
        &self,
        mut client: &TcpStream,
        mut server: &TcpStream,
        doomed: &AtomicBool,
    ) -> std::io::Result<()> {
        let mut bytes = vec![0; 64 * 1024];
        // The end of what came since there is something to look for: it may come in two parts.
        let mut tail = Vec::new();
        loop {
            let count = client.read(&mut bytes)?;
            let Some(read) = bytes.get(..count).filter(|read| !read.is_empty()) else {
                return Ok(());
            };
            let mut wanted = lock(&self.needle);
            if wanted.is_some() {
                tail.extend_from_slice(read);
            }
            if wanted.take_if(|needle| holds(&tail, needle)).is_some() {
                doomed.store(true, Ordering::Relaxed);
            }
            drop(wanted);
            tail.drain(..tail.len().saturating_sub(1024));
            server.write_all(read)?;
        }
    }

    fn pass_answers(
        &self,
        mut server: &TcpStream,
        due: &mpsc::Sender<(Instant, Vec<u8>)>,
        doomed: &AtomicBool,
    ) -> std::io::Result<()> {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let count = server.read(&mut bytes)?;
            let Some(read) = bytes.get(..count).filter(|read| !read.is_empty()) else {
                return Ok(());
            };
            if doomed.load(Ordering::Relaxed) {
                self.swallowed.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            let at = Instant::now() + *lock(&self.delay);
            if due.send((at, read.to_vec())).is_err() {
                return Ok(());
            }
        }
    }
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && bytes.windows(needle.len()).any(|window| window == needle)
}

fn close(client: &TcpStream, server: &TcpStream) {
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut bytes = [0; 64];
                    while let Ok(count @ 1..) = (&stream).read(&mut bytes) {
                        (&stream).write_all(&bytes[..count]).unwrap();
                    }
                });
            }
        });
        port
    }

    fn dial(proxy: &Proxy) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap()
    }

    fn ask(mut stream: &TcpStream, text: &[u8]) -> Option<Vec<u8>> {
        stream.write_all(text).ok()?;
        let mut bytes = vec![0; text.len()];
        stream.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }

    #[test]
    fn answers_come_as_late_as_asked_for() {
        let proxy = Proxy::start(echo());
        let stream = dial(&proxy);
        assert_eq!(ask(&stream, b"one").unwrap(), b"one");
        proxy.delay(Duration::from_millis(50));
        let start = Instant::now();
        assert_eq!(ask(&stream, b"two").unwrap(), b"two");
        assert!(start.elapsed() >= Duration::from_millis(50));
    }

    #[test]
    fn one_answer_is_lost_with_its_connection_and_the_next_one_comes() {
        let proxy = Proxy::start(echo());
        proxy.swallow(b"lost");
        let stream = dial(&proxy);
        assert_eq!(ask(&stream, b"kept").unwrap(), b"kept");
        assert_eq!(ask(&stream, b"lost"), None);
        assert_eq!(proxy.swallowed(), 1);
        assert_eq!(ask(&dial(&proxy), b"lost").unwrap(), b"lost");
    }
}
