//! The plugin `radius` against FreeRADIUS, and against servers that misbehave.

use crate::{
    servers::{Folder, Server, free_port, plugin, program},
    support::PLENTY,
};
use lapwing_checks::CheckError;
use lapwing_model::{Observation, Reason, Status};
use std::{fs, time::Duration};
use tokio::net::UdpSocket;

const USERS: &str = "\
ada Cleartext-Password := \"lovelace\"
\tReply-Message := \"welcome\"

mallory Cleartext-Password := \"x\", Auth-Type := Reject
\tReply-Message := \"go away\"
";

/// A server with two users, an authentication and an accounting port.
struct Radius {
    server: Server,
    accounting: u16,
}

impl Radius {
    async fn new() -> Self {
        let folder = Folder::new();
        let at = folder.path("");
        let at = at.display();
        let (port, accounting) = (free_port().await, free_port().await);
        let config = format!(
            "name = freeradius
libdir = /usr/lib/freeradius
logdir = {at}
raddbdir = {at}
run_dir = {at}
security {{
    reject_delay = 0
    status_server = yes
}}
modules {{
    pap {{ }}
    chap {{ }}
    files {{
        filename = {at}users
    }}
}}
client worker {{
    ipaddr = 127.0.0.1
    secret = testing123
}}
server default {{
    listen {{
        type = auth
        ipaddr = 127.0.0.1
        port = {port}
    }}
    listen {{
        type = acct
        ipaddr = 127.0.0.1
        port = {accounting}
    }}
    authorize {{
        files
        chap
        pap
    }}
    authenticate {{
        Auth-Type PAP {{
            pap
        }}
        Auth-Type CHAP {{
            chap
        }}
    }}
}}
"
        );
        folder.write("radiusd.conf", config);
        folder.write("users", USERS);
        let mut command = program("freeradius");
        command.args(["-f", "-l", "stdout", "-d"]).arg(folder.path(""));
        let log = folder.path("log");
        let ready = async move |_| {
            fs::read_to_string(&log).is_ok_and(|text| text.contains("Ready to process requests"))
        };
        Self {
            server: folder.start(port, command, ready).await,
            accounting,
        }
    }

    /// One run of the plugin with `more` in its configuration.
    async fn check(&self, more: &str) -> Observation {
        check(
            self.server.port,
            &format!(r#""secret":"testing123"{more}"#),
            PLENTY,
        )
        .await
    }

    /// One run for a user.
    async fn ask(&self, method: &str, user: &str, password: &str, more: &str) -> Observation {
        let user = format!(r#","request":"{method}","username":"{user}","password":"{password}"{more}"#);
        self.check(&user).await
    }
}

async fn check(port: u16, config: &str, budget: Duration) -> Observation {
    let config = format!(r#"{{"host":"127.0.0.1","port":{port},{config}}}"#);
    let probed = plugin("radius").await.run(&config, budget).await;
    probed.unwrap_or_else(CheckError::into_observation)
}

fn reason(observation: &Observation) -> &str {
    observation.reason.as_ref().map_or("", Reason::as_str)
}

#[tokio::test]
async fn a_server_that_is_alive_is_up_on_both_ports() {
    let radius = Radius::new().await;
    let seen = radius.check("").await;
    assert_eq!(seen.status, Status::Up, "{seen:?}");
    assert_eq!(seen.message, "RADIUS answered Access-Accept");
    let accounting = check(radius.accounting, r#""secret":"testing123""#, PLENTY).await;
    assert_eq!(accounting.status, Status::Up, "{accounting:?}");
    assert_eq!(accounting.message, "RADIUS answered Accounting-Response");
}

#[tokio::test]
async fn users_are_let_in_by_their_password_only() {
    let radius = Radius::new().await;
    // FreeRADIUS before 3.2.5 seals no answer to PAP and CHAP.
    let trusting = r#","require_message_authenticator":false"#;
    for method in ["pap", "chap"] {
        let right = radius.ask(method, "ada", "lovelace", trusting).await;
        assert_eq!(right.status, Status::Up, "{method}: {right:?}");
        assert_eq!(right.message, "RADIUS answered Access-Accept (`welcome`)");
        let wrong = radius.ask(method, "ada", "byron", trusting).await;
        assert_eq!(
            (wrong.status, reason(&wrong)),
            (Status::Down, "auth_failed"),
            "{method}"
        );
    }
    let expected = radius
        .ask("pap", "mallory", "x", &format!(r#"{trusting},"expect":"reject""#))
        .await;
    assert_eq!(expected.status, Status::Up, "{expected:?}");
    assert!(expected.message.contains("`go away`"), "{}", expected.message);
    let let_in = radius
        .ask(
            "pap",
            "ada",
            "lovelace",
            &format!(r#"{trusting},"expect":"reject""#),
        )
        .await;
    assert_eq!(
        (let_in.status, reason(&let_in)),
        (Status::Down, "assertion_failed")
    );
}

#[tokio::test]
async fn an_answer_without_a_seal_is_up_only_where_that_is_wanted() {
    let radius = Radius::new().await;
    let trusting = r#","require_message_authenticator":false"#;
    let seen = radius.ask("pap", "ada", "lovelace", trusting).await;
    let sealed = seen.attributes["radius.message_authenticator"] == true;
    let strict = radius.ask("pap", "ada", "lovelace", "").await;
    if sealed {
        assert_eq!(strict.status, Status::Up, "{strict:?}");
    } else {
        assert_eq!(
            (strict.status, reason(&strict)),
            (Status::Down, "radius_unauthenticated")
        );
    }
}

#[tokio::test]
async fn a_server_is_silent_to_the_wrong_secret() {
    let radius = Radius::new().await;
    let seen = check(
        radius.server.port,
        r#""secret":"wrong","retry_ms":100"#,
        Duration::from_secs(2),
    )
    .await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "response_timeout"),
        "{seen:?}"
    );
    assert!(!seen.message.contains("wrong"), "{}", seen.message);
}

/// A server that answers each request with what `answer` makes of it.
async fn impostor(answer: impl Fn(&[u8]) -> Vec<u8>) -> Observation {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let serve = async {
        let mut request = [0; 4096];
        loop {
            let (length, from) = socket.recv_from(&mut request).await.unwrap();
            socket.send_to(&answer(&request[..length]), from).await.unwrap();
        }
    };
    let budget = Duration::from_secs(2);
    tokio::select! {
        seen = check(port, r#""secret":"s","retry_ms":200"#, budget) => seen,
        () = serve => unreachable!("it serves for ever"),
    }
}

#[tokio::test]
async fn forged_answers_are_told_from_silence() {
    // An accept without any knowledge of the secret.
    let forge = |request: &[u8]| [&[2, request[1], 0, 20][..], &[7; 16]].concat();
    let seen = impostor(forge).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "radius_bad_authenticator"),
        "{seen:?}"
    );
    let seen = impostor(|_| b"hello".to_vec()).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "protocol_error"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_lost_request_is_sent_again_as_it_was() {
    let radius = Radius::new().await;
    // A wire that loses the first request.
    let wire = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = wire.local_addr().unwrap().port();
    let serve = async {
        let mut first = [0; 4096];
        let (length, _) = wire.recv_from(&mut first).await.unwrap();
        let mut second = [0; 4096];
        let (again, from) = wire.recv_from(&mut second).await.unwrap();
        let beyond = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        beyond
            .send_to(&second[..again], ("127.0.0.1", radius.server.port))
            .await
            .unwrap();
        let mut answer = [0; 4096];
        let answered = beyond.recv(&mut answer).await.unwrap();
        wire.send_to(&answer[..answered], from).await.unwrap();
        assert_eq!(first[..length], second[..again]);
    };
    let probe = check(port, r#""secret":"testing123","retry_ms":100"#, PLENTY);
    let (seen, ()) = tokio::join!(probe, serve);
    assert_eq!(seen.status, Status::Up, "{seen:?}");
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_down_at_once() {
    let seen = check(free_port().await, r#""secret":"s""#, PLENTY).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "connection_refused"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_user_without_a_password_says_nothing_of_the_server() {
    let seen = check(1, r#""secret":"s","request":"pap","username":"ada""#, PLENTY).await;
    assert_eq!(
        (seen.status, seen.reason),
        (Status::Unknown, Some(Reason::InvalidConfig))
    );
}
