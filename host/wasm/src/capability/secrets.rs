//! `secrets`, and the places where the host fills one in: headers and client identities.
//!
//! A refusal counts in the verdict. Whatever leaves the custody is masked in all that the run shows from then on: the
//! guest was shown it, or its target may send it back.

use crate::{
    abi::v1::wit::{
        net_types::NetError as GuestError,
        secrets::{Host, SecretError},
    },
    guest::Guest,
    rights::SecretFault,
    text,
};
use lapwing_model::Reason;
use std::sync::Arc;
use wasmtime::Result;

/// The place of a client identity. Its key is not sent: who verifies nothing shows it to nobody.
pub(crate) const IDENTITY: &str = "the client certificate";

impl Host for Guest {
    async fn reveal(&mut self, name: String) -> Result<Result<String, SecretError>> {
        let begun = self.call_begins("secrets.reveal", || name.clone());
        let answer = self.revealed(&name).await;
        self.call_ends(begun, &answer, |_| "***".to_owned());
        Ok(answer.map(|secret| secret.to_string()))
    }
}

impl Guest {
    async fn revealed(&mut self, name: &str) -> Result<Arc<str>, SecretError> {
        let permitted = match self.rights() {
            Some(rights) => rights.reveal(name),
            None => Err("it is not granted".to_owned()),
        };
        if let Err(why) = permitted {
            self.ledger
                .refuse(&format!("secret `{}`: {why}", text::line(name, 64)));
            return Err(SecretError::AccessDenied);
        }
        self.taken(name).await.map_err(|fault| match fault {
            SecretFault::NotFound => SecretError::NotFound,
            SecretFault::Unavailable(why) => SecretError::Unavailable(self.unread(name, &why)),
        })
    }

    /// The file of a secret could not be read, which is our trouble.
    fn unread(&self, name: &str, why: &str) -> String {
        let why = format!("secret `{}`: {why}", text::line(name, 64));
        self.ledger.hinder(Reason::Internal, &why);
        why
    }

    /// The secret `name` to be filled in `place` of something that goes to `host` at `port`; `open` says that others can
    /// read it on its way.
    pub(crate) async fn fill_in(
        &mut self,
        name: &str,
        place: &str,
        (host, port): (&str, u16),
        open: bool,
    ) -> Result<Arc<str>, GuestError> {
        let shown = text::line(name, 64);
        let permitted = match self.rights() {
            Some(rights) => rights.secret(name, host, port).and_then(|()| {
                if open {
                    rights.secret_in_the_open(name, host)?;
                }
                Ok(())
            }),
            None => Err("it is not granted".to_owned()),
        };
        if let Err(why) = permitted {
            return Err(self.refuse(&format!("secret `{shown}` for {place}: {why}")));
        }
        self.taken(name).await.map_err(|fault| match fault {
            SecretFault::NotFound => self.refuse(&format!(
                "secret `{shown}` for {place}: there is none of that name; add it to `secrets`"
            )),
            SecretFault::Unavailable(why) => GuestError::Other(self.unread(name, &why)),
        })
    }

    async fn taken(&mut self, name: &str) -> Result<Arc<str>, SecretFault> {
        let secrets = self.rights().map(|rights| rights.custody.secrets_held());
        let secrets = secrets.ok_or(SecretFault::NotFound)?;
        let secret = secrets.read(name, self.patience()).await?;
        self.ledger.entries().aside.mask.add(&secret);
        Ok(secret)
    }
}
