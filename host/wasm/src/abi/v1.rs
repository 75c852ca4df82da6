//! Bindings of `lapwing:plugin@1`, generated from `wit/v1`, and the linker that offers its imports to guests.
//!
//! The imports' bodies are in [`crate::capability`]. Guests of ordinary toolchains find all of WASI 0.2 linked: its
//! network through the same gate as ours, and no power behind the rest.

use crate::{capability::wasi, guest::Guest};
use wasmtime::{
    Engine, Result,
    component::{HasSelf, Linker},
};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/v1",
        world: "lapwing:plugin/plugin",
        imports: {
            "lapwing:plugin/log": trappable,
            "lapwing:plugin/context": trappable,
            default: async | trappable,
        },
        exports: { default: async },
        with: {
            "lapwing:plugin/tcp.connection": crate::capability::tcp::Connection,
            "lapwing:plugin/udp.socket": crate::capability::udp::Socket,
        },
        additional_derives: [PartialEq, serde::Serialize, serde::Deserialize],
    });
}

pub(crate) use bindings::{Plugin, PluginPre, lapwing::plugin as wit};

// Types only: no functions to offer.
impl wit::types::Host for Guest {}
impl wit::net_types::Host for Guest {}

/// The package's name in import and export names.
pub(crate) const PACKAGE: &str = "lapwing:plugin/";
/// The interface every plugin exports.
pub(crate) const CHECKER: &str = "lapwing:plugin/checker";
/// The interface a plugin may export beside it.
pub(crate) const CONFIG_CHECK: &str = "lapwing:plugin/config-check@1.0.0";
/// Newest version this host speaks, as (major, minor).
pub(crate) const VERSION: (u64, u64) = (1, 0);

/// Everything a guest may import.
pub(crate) fn linker(engine: &Engine) -> Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasi::sockets::add_to_linker(&mut linker)?;
    wasi::http::add_to_linker(&mut linker)?;
    Plugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest| guest)?;
    Ok(linker)
}
