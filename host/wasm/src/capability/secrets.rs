//! `secrets`: none are granted yet, so every request is refused, and the refusal counts in the verdict.

use crate::{
    abi::v1::wit::secrets::{Host, SecretError},
    guest::Guest,
    text,
};
use wasmtime::Result;

impl Host for Guest {
    fn reveal(&mut self, name: String) -> Result<Result<String, SecretError>> {
        self.ledger
            .refuse(&format!("secret `{}` is not granted", text::line(&name, 64)));
        Ok(Err(SecretError::AccessDenied))
    }
}
