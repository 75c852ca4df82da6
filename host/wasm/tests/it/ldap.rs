//! The plugin `ldap` against OpenLDAP's slapd, and against servers that misbehave.

use crate::{
    servers::{Folder, Server, accepts, fake, free_port, plugin, program, said},
    support::PLENTY,
};
use lapwing_checks::CheckError;
use lapwing_model::{Observation, Reason, Status};
use std::process::Command;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PEOPLE: &str = "\
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: uid=ada,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: ada
cn: Ada (Countess)
sn: Lovelace
mail: ada@example.org
mail: countess@example.org

dn: uid=charles,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: charles
cn: Charles
sn: Babbage
mail: charles@example.org
";

/// A directory of two people; only who is bound may read it.
struct Directory {
    server: Server,
    ldaps: u16,
}

impl Directory {
    async fn new() -> Self {
        let folder = Folder::new();
        let at = folder.path("");
        let at = at.display();
        let made = rcgen::generate_simple_self_signed(vec!["ldap.test".into()]).unwrap();
        folder.write("cert.pem", made.cert.pem());
        folder.write("key.pem", made.signing_key.serialize_pem());
        let config = folder.write(
            "slapd.conf",
            format!(
                "include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile {at}cert.pem
TLSCertificateKeyFile {at}key.pem
access to attrs=userPassword by anonymous auth
access to dn.base=\"\" by * read
access to * by users read
database mdb
suffix dc=example,dc=org
rootdn cn=admin,dc=example,dc=org
rootpw opensesame
directory {at}
"
            ),
        );
        let people = folder.write("people.ldif", PEOPLE);
        // Where AppArmor confines slapd it does so by path, and would keep it from the files of a test. Not copied by
        // ourselves: children of other tests would hold the new file open for writing, and it could not be run.
        let slapd = folder.path("slapd");
        said(program("cp").arg(program("slapd").get_program()).arg(&slapd));
        let mut fill = Command::new(&slapd);
        said(fill.args(["-T", "add", "-f"]).arg(&config).arg("-l").arg(people));

        let (port, ldaps) = (free_port().await, free_port().await);
        let mut command = Command::new(&slapd);
        command.arg("-f").arg(&config).args(["-d", "0", "-h"]);
        command.arg(format!("ldap://127.0.0.1:{port} ldaps://127.0.0.1:{ldaps}"));
        Self {
            server: folder.start(port, command, accepts).await,
            ldaps,
        }
    }

    /// One run of the plugin as the directory's administrator, with `more` in its configuration.
    async fn check(&self, more: &str) -> Observation {
        check(&format!(
            r#"{{"host":"127.0.0.1","port":{},"bind_dn":"cn=admin,dc=example,dc=org","password":"opensesame",{more}}}"#,
            self.server.port
        ))
        .await
    }
}

async fn check(config: &str) -> Observation {
    let probed = plugin("ldap").await.run(config, PLENTY).await;
    probed.unwrap_or_else(CheckError::into_observation)
}

#[tokio::test]
async fn a_directory_that_holds_what_it_should_is_up() {
    let directory = Directory::new().await;
    let seen = directory
        .check(
            r#""search":{"base":"dc=example,dc=org","scope":"sub",
                "filter":"(&(objectClass=inetOrgPerson)(|(mail=ada@*)(cn=charles))(!(sn=x)))",
                "min_entries":2,"max_entries":2,
                "expect":[{"attribute":"mail","value":"countess@example.org"}]}"#,
        )
        .await;
    assert_eq!(seen.status, Status::Up, "{seen:?}");
    assert_eq!(
        seen.message,
        "LDAP bind accepted (cn=admin,dc=example,dc=org); 2 entries under `dc=example,dc=org`"
    );
    assert_eq!(seen.attributes["ldap.entries"], 2);

    let escaped = directory
        .check(r#""search":{"base":"ou=people,dc=example,dc=org","scope":"one","filter":"(cn=ada \\28countess\\29)"}"#)
        .await;
    assert_eq!(escaped.status, Status::Up, "{escaped:?}");
    assert_eq!(
        escaped.attributes["ldap.first_dn"],
        "uid=ada,ou=people,dc=example,dc=org"
    );
    let by_rule = directory
        .check(r#""search":{"base":"dc=example,dc=org","scope":"sub","filter":"(ou:dn:caseIgnoreMatch:=PEOPLE)","min_entries":3}"#)
        .await;
    assert_eq!(by_rule.status, Status::Up, "{by_rule:?}");
}

#[tokio::test]
async fn what_a_directory_does_not_hold_is_down() {
    let directory = Directory::new().await;
    let too_many = directory
        .check(r#""search":{"base":"dc=example,dc=org","scope":"sub","max_entries":1}"#)
        .await;
    assert_eq!(
        (too_many.status, too_many.reason, too_many.message.as_str()),
        (
            Status::Down,
            Some(Reason::AssertionFailed),
            "LDAP search found 2 entries or more where at most 1 were expected"
        )
    );
    let nowhere = directory.check(r#""search":{"base":"dc=example,dc=com"}"#).await;
    assert_eq!(
        nowhere.reason.as_ref().map(Reason::as_str),
        Some("ldap_no_such_object"),
        "{nowhere:?}"
    );
    let nobody = directory
        .check(r#""search":{"base":"uid=eve,ou=people,dc=example,dc=org"}"#)
        .await;
    assert_eq!(
        nobody.reason.as_ref().map(Reason::as_str),
        Some("ldap_no_such_object")
    );
    let value = directory
        .check(r#""search":{"base":"uid=ada,ou=people,dc=example,dc=org","expect":[{"attribute":"mail","value":"x"}]}"#)
        .await;
    assert_eq!(value.reason, Some(Reason::AssertionFailed), "{value:?}");
}

#[tokio::test]
async fn a_bind_is_refused_with_the_servers_own_code() {
    let directory = Directory::new().await;
    let target = format!(r#""host":"127.0.0.1","port":{}"#, directory.server.port);
    let wrong = check(&format!(
        r#"{{{target},"bind_dn":"cn=admin,dc=example,dc=org","password":"wrong"}}"#
    ))
    .await;
    assert_eq!(
        (wrong.status, wrong.reason),
        (Status::Down, Some(Reason::AuthFailed))
    );
    assert_eq!(wrong.attributes["ldap.result"], "49 invalid_credentials");
    assert!(!wrong.message.contains("wrong"), "{}", wrong.message);

    let anonymous = check(&format!("{{{target},\"search\":{{}}}}")).await;
    assert_eq!(
        anonymous.status,
        Status::Up,
        "the root is for everybody: {anonymous:?}"
    );
    let hidden = check(&format!(
        r#"{{{target},"search":{{"base":"dc=example,dc=org"}}}}"#
    ))
    .await;
    assert_eq!(
        hidden.reason.as_ref().map(Reason::as_str),
        Some("ldap_no_such_object"),
        "what one may not see is not there: {hidden:?}"
    );
}

#[tokio::test]
async fn starttls_and_ldaps_show_the_chain_the_host_saw() {
    let directory = Directory::new().await;
    for (tls, port) in [("starttls", directory.server.port), ("implicit", directory.ldaps)] {
        let target = format!(r#""host":"127.0.0.1","port":{port},"tls":"{tls}","server_name":"ldap.test""#);
        let trusting = check(&format!(r#"{{{target},"search":{{}},"ignore_tls_errors":true}}"#)).await;
        assert_eq!(trusting.status, Status::Up, "{tls}: {trusting:?}");
        let session = trusting.tls.unwrap();
        assert!(!session.verified && session.verify_error.is_some());
        assert_eq!(session.chain[0].dns_names, ["ldap.test"]);
        let strict = check(&format!("{{{target}}}")).await;
        assert_eq!(
            (strict.status, strict.reason),
            (Status::Down, Some(Reason::TlsCertificate)),
            "{tls}"
        );
    }
}

#[tokio::test]
async fn a_server_that_does_not_speak_ldap_is_down() {
    for (says, reason) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..],
            Reason::ProtocolError,
        ),
        // A message that promises 2 GiB.
        (b"\x30\x84\x7f\xff\xff\xff", Reason::ProtocolError),
        // An answer to a request nobody made.
        (
            b"\x30\x0c\x02\x01\x09\x61\x07\x0a\x01\x00\x04\x00\x04\x00",
            Reason::ProtocolError,
        ),
        // Half an answer.
        (b"\x30\x0c\x02\x01\x01\x61", Reason::ConnectionClosed),
    ] {
        let port = fake(move |mut stream| async move {
            let mut request = [0; 64];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            stream.write_all(says).await.unwrap();
        })
        .await;
        let seen = check(&format!(r#"{{"host":"127.0.0.1","port":{port}}}"#)).await;
        assert_eq!(
            (seen.status, seen.reason),
            (Status::Down, Some(reason)),
            "{}",
            seen.message
        );
    }
}

#[tokio::test]
async fn a_filter_that_cannot_be_read_says_nothing_of_the_server() {
    // Nothing listens there, and nothing is asked.
    let seen = check(r#"{"host":"127.0.0.1","port":1,"search":{"filter":"(uid=x"}}"#).await;
    assert_eq!(
        (seen.status, seen.reason),
        (Status::Unknown, Some(Reason::InvalidConfig))
    );
    assert!(
        seen.message.contains("`)` is missing at the end"),
        "{}",
        seen.message
    );
}
