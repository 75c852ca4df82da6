//! Kind `docker`: against a real daemon where this machine can run one, and against a stand-in that speaks its API, on a
//! Unix socket and over TLS, for the states and faults no daemon gets into on demand.

use crate::support::{
    AMPLE, Probe,
    certificates::{Authority, Leaf},
    left_out, reason,
    server::{Server, ok},
    with,
};
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use lapwing_checks::CheckError;
use lapwing_model::{Observation, Status};
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};
use tempfile::TempDir;
use tokio::{
    net::UnixListener,
    time::{self, Duration, Instant},
};
use tokio_util::task::AbortOnDropHandle;

/// What the stand-in says of each path.
fn answer(path: &str) -> Response<Full<Bytes>> {
    let inspected = |state: Value| ok(json!({ "Id": "0123", "State": state }).to_string());
    let fault = |code: u16, message: &str| {
        let mut response = ok(json!({ "message": message }).to_string());
        *response.status_mut() = StatusCode::from_u16(code).unwrap();
        response
    };
    let health =
        |status: &str| json!({ "Status": "running", "Running": true, "Health": { "Status": status } });
    match path.rsplit('/').nth(1).unwrap_or_default() {
        "" => {
            let mut response = ok("OK");
            response
                .headers_mut()
                .insert("api-version", "1.41".parse().unwrap());
            response
        }
        "plain" => inspected(json!({ "Status": "running", "Running": true })),
        "podman" => inspected(health("")),
        "healthy" => inspected(health("healthy")),
        "sick" => inspected(health("unhealthy")),
        "young" => inspected(health("starting")),
        "odd" => inspected(health("dizzy")),
        "stateless" => ok(r#"{"Id":"0123"}"#),
        "garbage" => ok("<html>"),
        "ab" => fault(500, "Multiple IDs found with provided prefix: ab"),
        "locked" => fault(403, "authorization denied by plugin"),
        "fallen" => fault(502, "boom"),
        "none" => fault(404, "No such container: none"),
        state => inspected(json!({ "Status": state, "Running": state == "paused", "ExitCode": 137 })),
    }
}

/// A stand-in on a Unix socket.
struct Daemon {
    home: TempDir,
    asked: Arc<Mutex<Vec<String>>>,
    _task: AbortOnDropHandle<()>,
}

impl Daemon {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(home.path().join("docker.sock")).unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = asked.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let noted = noted.clone();
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    noted.lock().unwrap().push(request.uri().to_string());
                    let response = answer(request.uri().path());
                    async move { Ok::<_, Infallible>(response) }
                });
                tokio::spawn(async move {
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            home,
            asked,
            _task: AbortOnDropHandle::new(task),
        }
    }

    fn socket(&self) -> PathBuf {
        self.home.path().join("docker.sock")
    }
}

fn config(socket: &Path, container: &str) -> Value {
    json!({ "container_id": container, "connection_type": "socket", "docker_daemon": socket })
}

async fn seen(socket: &Path, container: &str) -> Observation {
    Probe::new().seen("docker", config(socket, container)).await
}

#[tokio::test]
async fn each_state_of_a_container_has_its_verdict() {
    let daemon = Daemon::start();
    for (container, status, word, message) in [
        ("plain", Status::Up, "", "running"),
        ("podman", Status::Up, "", "running"),
        ("healthy", Status::Up, "", "healthy"),
        ("young", Status::Unknown, "starting", "starting"),
        (
            "restarting",
            Status::Unknown,
            "starting",
            "container state is restarting",
        ),
        (
            "sick",
            Status::Down,
            "assertion_failed",
            "container is unhealthy: unhealthy",
        ),
        (
            "odd",
            Status::Down,
            "assertion_failed",
            "container health status: dizzy",
        ),
        (
            "paused",
            Status::Down,
            "assertion_failed",
            "container state is paused",
        ),
        (
            "exited",
            Status::Down,
            "assertion_failed",
            "container state is exited",
        ),
        (
            "created",
            Status::Down,
            "assertion_failed",
            "container state is created",
        ),
        (
            "dead",
            Status::Down,
            "assertion_failed",
            "container state is dead",
        ),
        (
            "stateless",
            Status::Down,
            "protocol_error",
            "container state is nil",
        ),
        (
            "none",
            Status::Down,
            "assertion_failed",
            "container inspect error: Error response from daemon: No such container: none",
        ),
        (
            "locked",
            Status::Down,
            "auth_failed",
            "container inspect error: Error response from daemon: authorization denied by plugin",
        ),
        (
            "fallen",
            Status::Down,
            "http_status",
            "container inspect error: Error response from daemon: boom",
        ),
        (
            "garbage",
            Status::Down,
            "protocol_error",
            "container inspect error: the answer is not Docker's: Syntax error",
        ),
    ] {
        let seen = seen(&daemon.socket(), container).await;
        assert_eq!(
            (seen.status, reason(&seen), seen.message.as_str()),
            (status, word, message),
            "{container}"
        );
    }
    let exited = seen(&daemon.socket(), "exited").await;
    assert_eq!(exited.attributes["docker.exit_code"], 137);
}

#[tokio::test]
async fn the_version_both_sides_know_is_spoken() {
    let daemon = Daemon::start();
    seen(&daemon.socket(), "/plain").await;
    assert_eq!(
        *daemon.asked.lock().unwrap(),
        ["/_ping", "/v1.41/containers/plain/json"]
    );
}

#[tokio::test]
async fn an_id_that_fits_several_containers_is_the_users_to_mend() {
    let daemon = Daemon::start();
    let error = Probe::new()
        .run("docker", config(&daemon.socket(), "ab"))
        .await
        .unwrap_err();
    let CheckError::InvalidConfig(text) = error else {
        panic!("{error:?}")
    };
    assert!(
        text.contains("Multiple IDs found") && text.contains("fits more than one container"),
        "{text}"
    );
}

#[tokio::test]
async fn no_daemon_is_down_and_no_right_is_ours() {
    let home = tempfile::tempdir().unwrap();
    let absent = home.path().join("absent.sock");
    let abandoned = home.path().join("abandoned.sock");
    drop(UnixListener::bind(&abandoned).unwrap());
    for socket in [&absent, &abandoned] {
        let seen = seen(socket, "c").await;
        assert_eq!((seen.status, reason(&seen)), (Status::Down, "connection_refused"));
        assert_eq!(
            seen.message,
            format!(
                "container inspect error: Cannot connect to the Docker daemon at unix://{}. Is the docker daemon running?",
                socket.display()
            )
        );
    }
    let locked = Daemon::start();
    fs::set_permissions(locked.socket(), fs::Permissions::from_mode(0o0)).unwrap();
    let result = Probe::new()
        .run("docker", config(&locked.socket(), "plain"))
        .await;
    if rustix::process::geteuid().is_root() {
        left_out(
            "root may open every socket; run the tests as another user to see that a locked one is told",
        );
    } else {
        assert!(
            matches!(result, Err(CheckError::PermissionDenied(_))),
            "{result:?}"
        );
    }
}

#[tokio::test]
async fn a_public_network_has_no_sockets_of_this_machine() {
    let daemon = Daemon::start();
    let probe = Probe::under(json!({ "mode": "public-only" }));
    let error = probe
        .run("docker", config(&daemon.socket(), "plain"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, CheckError::Denied(text) if text.contains("docker.sock")),
        "{error:?}"
    );
    assert!(daemon.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn over_tcp_tls_is_verified_only_when_asked_for() {
    let authority = Authority::new();
    let identity = authority.issue(&Leaf::default());
    let acceptor = identity.acceptor_with(&["http/1.1"], Some(&authority), &[&rustls::version::TLS12]);
    let server = Server::https(acceptor, |seen| answer(&seen.uri)).await;
    let secure = |more: Value| {
        let config = json!({
            "container_id": "plain", "connection_type": "tcp", "tls_enabled": true,
            "docker_daemon": format!("tcp://127.0.0.1:{}", server.port()),
            "tls_cert": identity.chain, "tls_key": identity.key,
        });
        with(config, more)
    };
    let seen = async |more| Probe::new().seen("docker", secure(more)).await;
    let verified = seen(json!({ "tls_verify": true, "tls_ca": authority.pem() })).await;
    assert_eq!(verified.status, Status::Up, "{}", verified.message);
    assert_eq!(seen(json!({})).await.status, Status::Up, "unverified");
    let unknown = seen(json!({ "tls_verify": true })).await;
    assert_eq!(
        (unknown.status, reason(&unknown)),
        (Status::Down, "tls_certificate")
    );
    assert!(
        unknown.message.contains("Hint: the authority that signed"),
        "{}",
        unknown.message
    );
    let anonymous = seen(json!({ "tls_cert": "", "tls_key": "" })).await;
    assert_eq!(
        (anonymous.status, reason(&anonymous)),
        (Status::Down, "tls_failed"),
        "{}",
        anonymous.message
    );

    for (more, why) in [
        (
            json!({ "tls_key": "" }),
            "both certificate and key must be provided",
        ),
        (
            json!({ "tls_ca": "nonsense", "tls_verify": true }),
            "CA certificate",
        ),
        (
            json!({ "docker_daemon": "127.0.0.1:1" }),
            "expected `tcp://host:port`",
        ),
        (json!({ "docker_daemon": "tcp://127.0.0.1:1/x" }), "nothing more"),
        (json!({ "container_id": "../images" }), "`container_id`"),
        (json!({ "connection_type": "pigeon" }), "`connection_type`"),
        (
            json!({ "connection_type": "socket", "docker_daemon": "docker.sock" }),
            "path of a socket",
        ),
    ] {
        let error = Probe::new().run("docker", secure(more)).await.unwrap_err();
        assert!(
            matches!(&error, CheckError::InvalidConfig(text) if text.contains(why)),
            "{error:?}"
        );
    }
}

/// A real daemon, without a network of its own.
struct Dockerd {
    home: TempDir,
    process: Child,
}

impl Dockerd {
    /// `None`, and why on stderr, where this machine cannot run one.
    async fn start() -> Option<Self> {
        let left_out = |why: &str| left_out(&format!("the tests of `docker` against a real daemon: {why}"));
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new("dockerd");
        command
            .args([
                "--iptables=false",
                "--ip6tables=false",
                "--ip-forward=false",
                "--bridge=none",
                "--storage-driver=vfs",
            ])
            .arg("--data-root")
            .arg(home.path().join("data"))
            .arg("--exec-root")
            .arg(home.path().join("exec"))
            .arg("--pidfile")
            .arg(home.path().join("pid"))
            .arg(format!(
                "--host=unix://{}",
                home.path().join("docker.sock").display()
            ))
            .stdout(Stdio::null())
            .stderr(fs::File::create(home.path().join("log")).unwrap());
        let Ok(process) = command.process_group(0).spawn() else {
            left_out("no `dockerd` (Debian's docker.io)");
            return None;
        };
        let mut daemon = Self { home, process };
        let patience = Instant::now() + AMPLE;
        while !daemon.docker(&["version"]).is_ok_and(|out| !out.is_empty()) {
            if daemon.process.try_wait().unwrap().is_some() || Instant::now() > patience {
                let log = fs::read_to_string(daemon.home.path().join("log")).unwrap_or_default();
                left_out(log.lines().last().unwrap_or("it never answers"));
                return None;
            }
            time::sleep(Duration::from_millis(50)).await;
        }
        Some(daemon)
    }

    fn socket(&self) -> PathBuf {
        self.home.path().join("docker.sock")
    }

    fn docker(&self, arguments: &[&str]) -> Result<String, String> {
        let host = format!("--host=unix://{}", self.socket().display());
        let ran = Command::new("docker").arg(host).args(arguments).output();
        let ran = ran.map_err(|error| error.to_string())?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        if ran.status.success() {
            Ok(text(ran.stdout))
        } else {
            Err(text(ran.stderr))
        }
    }

    /// An image of nothing but a shell and what it needs, from this machine.
    fn image(&self) -> Result<String, String> {
        let archive = self.home.path().join("image.tar");
        let libraries = Command::new("ldd")
            .arg("/bin/sh")
            .output()
            .map_err(|error| error.to_string())?;
        let libraries = String::from_utf8_lossy(&libraries.stdout).into_owned();
        let files = libraries.split_whitespace().filter(|word| word.starts_with('/'));
        let packed = Command::new("tar")
            .args(["--dereference", "-cf"])
            .arg(&archive)
            .args(["-C", "/", "bin/sh"])
            .args(files.map(|file| file.trim_start_matches('/')))
            .status();
        packed.map_err(|error| error.to_string())?;
        self.docker(&["import", &archive.display().to_string(), "mini"])
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        if let Ok(all) = self.docker(&["ps", "--all", "--quiet"]) {
            for container in all.lines() {
                let _ = self.docker(&["rm", "--force", container]);
            }
        }
        // Its containerd ends with it.
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_real_daemon_is_understood() {
    let Some(daemon) = Dockerd::start().await else {
        return;
    };
    daemon.image().unwrap();
    let run = |more: &[&str]| {
        let waits = [
            "mini",
            "/bin/sh",
            "-c",
            "trap 'exit 3' TERM; while :; do read line < /dev/zero; done",
        ];
        let arguments = [&["run", "--detach", "--network=none"], more, &waits[..]].concat();
        daemon.docker(&arguments)
    };
    if let Err(why) = run(&["--name=plain"]) {
        left_out(&format!("containers that run: {why}"));
        return;
    }
    let health = ["--health-interval=200ms", "--health-retries=1", "--health-cmd"];
    run(&[&["--name=well"], &health[..], &["exit 0"]].concat()).unwrap();
    run(&[&["--name=sick"], &health[..], &["exit 1"]].concat()).unwrap();
    run(&["--name=still"]).unwrap();
    let paused = match daemon.docker(&["pause", "still"]) {
        Ok(_) => (Status::Down, "container state is paused"),
        Err(why) => {
            left_out(&format!("a paused container: {why}"));
            (Status::Up, "running")
        }
    };
    daemon
        .docker(&["create", "--network=none", "--name=made", "mini", "/bin/sh"])
        .unwrap();
    daemon
        .docker(&[
            "run",
            "--network=none",
            "--name=over",
            "mini",
            "/bin/sh",
            "-c",
            "exit 0",
        ])
        .unwrap();
    for (container, status, message) in [
        ("plain", Status::Up, "running"),
        ("well", Status::Up, "healthy"),
        ("sick", Status::Down, "container is unhealthy: unhealthy"),
        ("still", paused.0, paused.1),
        ("made", Status::Down, "container state is created"),
        ("over", Status::Down, "container state is exited"),
        (
            "nobody",
            Status::Down,
            "container inspect error: Error response from daemon: No such container: nobody",
        ),
    ] {
        let patience = Instant::now() + AMPLE;
        let seen = loop {
            let seen = seen(&daemon.socket(), container).await;
            // A first health check takes its time.
            if reason(&seen) != "starting" || Instant::now() > patience {
                break seen;
            }
            time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(
            (seen.status, seen.message.as_str()),
            (status, message),
            "{container}"
        );
    }
    let ids = daemon.docker(&["ps", "--all", "--quiet", "--no-trunc"]).unwrap();
    let id = ids.lines().next().unwrap();
    assert_ne!(reason(&seen(&daemon.socket(), &id[..12]).await), "protocol_error");
    // Of more than 16 ids two begin alike.
    let mut firsts: Vec<char> = ids.lines().filter_map(|id| id.chars().next()).collect();
    while firsts.len() < 17 {
        let id = daemon
            .docker(&["create", "--network=none", "mini", "/bin/sh"])
            .unwrap();
        firsts.extend(id.chars().next());
    }
    firsts.sort_unstable();
    let twice = firsts.windows(2).find(|pair| pair[0] == pair[1]).unwrap()[0];
    let error = Probe::new()
        .run("docker", config(&daemon.socket(), &twice.to_string()))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("fits more than one container"),
        "{error}"
    );
}

#[tokio::test]
async fn over_a_socket_what_is_said_of_tls_is_not_judged() {
    let daemon = Daemon::start();
    let config = crate::support::with(config(&daemon.socket(), "plain"), json!({ "tls_cert": "stale" }));
    assert_eq!(Probe::new().seen("docker", config).await.status, Status::Up);
}

#[tokio::test]
async fn an_unfit_place_is_not_repeated_with_its_password() {
    let config = json!({
        "container_id": "c", "connection_type": "tcp", "docker_daemon": "tcp://u:hunter2@h",
    });
    let error = Probe::new().run("docker", config).await.unwrap_err().to_string();
    assert!(
        error.contains("`docker_daemon`") && !error.contains("hunter2"),
        "{error}"
    );
}
