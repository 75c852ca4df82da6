//! Logging in: SASL PLAIN (RFC 4616) and SCRAM (RFC 5802, KIP-84).

use super::{
    SaslOptions,
    codec::{Answer, Api, error_name},
    wire::{CREATE, Node},
};
use crate::{
    CheckError,
    findings::invalid,
    native::{
        scram::{self, Hash, Scram},
        session::Fault,
    },
    schema,
};
use lapwing_model::Reason;

/// How.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mechanism {
    Plain,
    Scram(Hash),
}

impl Mechanism {
    /// `None`: not at all.
    pub(super) fn parse(options: &SaslOptions) -> Result<Option<Self>, schema::Fault> {
        let mechanism = match options.mechanism.as_str() {
            "" | "None" => return Ok(None),
            "PLAIN" => Self::Plain,
            "SCRAM-SHA-256" => Self::Scram(Hash::Sha256),
            "SCRAM-SHA-512" => Self::Scram(Hash::Sha512),
            other => {
                let why = format_args!("unsupported SASL mechanism: {other}");
                return Err(invalid("sasl_options.mechanism", why));
            }
        };
        if options.username.is_empty() || options.password.is_empty() {
            let why = "a mechanism needs `username` and `password`";
            return Err(invalid("sasl_options", why));
        }
        Ok(Some(mechanism))
    }
}

impl Node<'_> {
    /// Logs in.
    pub(super) async fn log_in(&mut self, mechanism: Mechanism, options: &SaslOptions) -> Result<(), Fault> {
        let request = self.request(Api::SaslHandshake).string(&options.mechanism);
        let mut answer = self.ask(CREATE, request).await?;
        match answer.int16() {
            Some(0) => {}
            Some(code) => return Err(refused(&error_name(code))),
            None => return Err(self.broken(CREATE)),
        }
        let SaslOptions {
            username, password, ..
        } = options;
        match mechanism {
            Mechanism::Plain => {
                self.step(&format!("\0{username}\0{password}")).await?;
            }
            Mechanism::Scram(hash) => {
                let nonce = scram::nonce().map_err(CheckError::Internal)?;
                let mut scram = Scram::new(hash, username, password, nonce);
                let first = self.step(&scram.first()).await?;
                let last = self.within(scram.last(&first)).await?;
                let last = last.map_err(|why| self.foul(&why))?;
                let verdict = self.step(&last).await?;
                scram.verify(&verdict).map_err(|why| self.foul(&why))?;
            }
        }
        Ok(())
    }

    /// One message each way.
    async fn step(&mut self, text: &str) -> Result<String, Fault> {
        let request = self.request(Api::SaslAuthenticate).bytes(text.as_bytes());
        let mut answer = self.ask(CREATE, request).await?;
        match read(&mut answer) {
            Some((0, _, bytes)) => Ok(bytes),
            Some((code, text, _)) if text.is_empty() => Err(refused(&error_name(code))),
            Some((code, text, _)) => Err(refused(&format!("{}: {text}", error_name(code)))),
            None => Err(self.broken(CREATE)),
        }
    }
}

fn read(answer: &mut Answer) -> Option<(i16, String, String)> {
    let (code, text, bytes) = (answer.int16()?, answer.string()?, answer.bytes()?);
    Some((code, text, String::from_utf8_lossy(&bytes).into_owned()))
}

fn refused(why: &str) -> Fault {
    Fault::Told(Reason::AuthFailed, format!("{CREATE}: {why}"))
}
