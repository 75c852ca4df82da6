//! `state`: a memo between runs. None is granted yet.
//!
//! A refusal here does not count in the verdict: the interface promises nothing ("the host may lose it"), and what the
//! target did does not depend on it.

use crate::{
    abi::v1::wit::state::{Host, StateError},
    guest::Guest,
};
use wasmtime::Result;

impl Host for Guest {
    fn get(&mut self, _key: String) -> Result<Result<Option<Vec<u8>>, StateError>> {
        Ok(Err(StateError::AccessDenied))
    }

    fn set(&mut self, _key: String, _value: Vec<u8>, _ttl: Option<u32>) -> Result<Result<(), StateError>> {
        Ok(Err(StateError::AccessDenied))
    }

    fn delete(&mut self, _key: String) -> Result<Result<(), StateError>> {
        Ok(Err(StateError::AccessDenied))
    }
}
