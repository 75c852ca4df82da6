//! The parts of WASI that need help to be powerless: sockets and name look-ups.
//!
//! The stock implementation refuses them without telling; then an unmodified program's "permission denied" would pass
//! for the target's fault. These refuse, open nothing, and write it down.

use crate::{guest::Guest, text};
use wasmtime::{
    Result, StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi::p2::{
    TcpSocket, UdpSocket,
    bindings::sockets::{
        ip_name_lookup::ResolveAddressStream,
        network::{ErrorCode, IpAddressFamily, Network},
    },
};

/// What a refused function answers: its result type's error.
type Refused<T> = (std::result::Result<Resource<T>, ErrorCode>,);

/// Replaces the three functions that everything on the network begins with, in a linker that has all of WASI. The
/// version is compatible with every 0.2 that a guest may have been built for.
pub(crate) fn refuse_sockets(linker: &mut Linker<Guest>) -> Result<()> {
    linker.allow_shadowing(true);
    linker.instance("wasi:sockets/ip-name-lookup@0.2.12")?.func_wrap(
        "resolve-addresses",
        |context: StoreContextMut<'_, Guest>,
         (_, name): (Resource<Network>, String)|
         -> Result<Refused<ResolveAddressStream>> {
            Ok(refuse(&context, &format!("look up `{}`", text::line(&name, 100))))
        },
    )?;
    linker
        .instance("wasi:sockets/tcp-create-socket@0.2.12")?
        .func_wrap(
            "create-tcp-socket",
            |context: StoreContextMut<'_, Guest>, _: (IpAddressFamily,)| -> Result<Refused<TcpSocket>> {
                Ok(refuse(&context, "open a TCP socket"))
            },
        )?;
    linker
        .instance("wasi:sockets/udp-create-socket@0.2.12")?
        .func_wrap(
            "create-udp-socket",
            |context: StoreContextMut<'_, Guest>, _: (IpAddressFamily,)| -> Result<Refused<UdpSocket>> {
                Ok(refuse(&context, "open a UDP socket"))
            },
        )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn refuse<T>(context: &StoreContextMut<'_, Guest>, what: &str) -> Refused<T> {
    context
        .data()
        .ledger
        .refuse(&format!("wasi:sockets is not granted ({what})"));
    (Err(ErrorCode::AccessDenied),)
}
