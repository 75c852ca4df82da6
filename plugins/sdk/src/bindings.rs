//! The interface `lapwing:plugin@1.0.0` as Rust, generated from `wit/v1`: once here, so that no plugin generates it.
//!
//! Plugins see these types through the SDK's own modules. Only a guest that needs full control (a fixture)
//! implements [`exports::lapwing::plugin::checker::Guest`] itself and exports it with [`crate::export_world!`].

#![expect(
    missing_docs,
    clippy::pedantic,
    reason = "generated; the meaning stands in wit/v1/plugin.wit"
)]

wit_bindgen::generate!({
    path: "../../wit/v1",
    world: "plugin",
    pub_export_macro: true,
    export_macro_name: "export_world",
});
