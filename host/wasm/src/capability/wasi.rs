//! The one part of WASI that needs help to be powerless: name look-ups.
//!
//! The stock implementation refuses them without telling; then an unmodified program's "no such host" would pass for
//! the target's fault. This one refuses them and writes it down.

use crate::guest::Guest;
use wasmtime::{
    Result, StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi::p2::bindings::sockets::{
    ip_name_lookup::ResolveAddressStream,
    network::{ErrorCode, Network},
};

/// Semver-compatible with every 0.2 a guest may have been built for.
const NAME_LOOKUP: &str = "wasi:sockets/ip-name-lookup@0.2.12";

/// Replaces `resolve-addresses` in a linker that has all of WASI.
pub(crate) fn refuse_name_lookup(linker: &mut Linker<Guest>) -> Result<()> {
    linker.allow_shadowing(true);
    linker.instance(NAME_LOOKUP)?.func_wrap(
        "resolve-addresses",
        |context: StoreContextMut<'_, Guest>, (_, name): (Resource<Network>, String)| {
            let name = crate::text::line(&name, 100);
            context
                .data()
                .ledger
                .refuse(&format!("wasi:sockets is not granted (look up `{name}`)"));
            Ok((Err::<Resource<ResolveAddressStream>, _>(ErrorCode::AccessDenied),))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}
