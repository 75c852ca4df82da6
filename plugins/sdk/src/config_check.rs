//! What a schema cannot say of a configuration: an optional second export of a plugin.

use crate::Checker;
pub use bindings::exports::lapwing::plugin::config_check::{Guest, Problem};
use serde_json::error::Category;

/// The interface `config-check`, generated from `wit/v1`.
#[expect(
    missing_docs,
    clippy::pedantic,
    reason = "generated; the meaning stands in wit/v1/plugin.wit"
)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit/v1",
        inline: "package lapwing:sdk; world validating { export lapwing:plugin/config-check@1.0.0; }",
        world: "lapwing:sdk/validating",
        with: { "lapwing:plugin/types@1.0.0": crate::bindings::lapwing::plugin::types },
        pub_export_macro: true,
        export_macro_name: "export_validating",
    });
}

/// A [`Checker`] that can tell more of a configuration than its schema does.
pub trait Validator: Checker {
    /// Everything that is wrong with a configuration that fits the schema. Asked when somebody sets up or tries out a
    /// monitor, not in its runs; nothing of the host can be used here.
    fn validate(config: Self::Config) -> Vec<Problem>;
}

impl Problem {
    /// What is wrong with the value that the JSON pointer (`/port`) leads to.
    pub fn at(pointer: &str, message: impl Into<String>) -> Self {
        Self {
            pointer: pointer.to_owned(),
            message: message.into(),
        }
    }
}

/// Asks `V`, if `kind` is its own.
#[doc(hidden)]
pub fn validate<V: Validator>(kind: &str, config: &str) -> Option<Vec<Problem>> {
    (kind == V::KIND).then(|| match serde_json::from_str(config) {
        Ok(config) => V::validate(config),
        Err(error) if error.classify() == Category::Data => vec![Problem::at("", error.to_string())],
        Err(_) => Vec::new(),
    })
}

/// Lets the host ask the named [`Validator`]s, beside [`export_checker!`](crate::export_checker).
#[macro_export]
macro_rules! export_config_check {
    ($($validator:ty),+ $(,)?) => {
        const _: () = {
            struct Validating;

            impl $crate::config_check::Guest for Validating {
                fn validate(
                    kind: ::std::string::String,
                    config: ::std::string::String,
                ) -> ::std::vec::Vec<$crate::config_check::Problem> {
                    ::core::option::Option::None
                        $(.or_else(|| $crate::config_check::validate::<$validator>(&kind, &config)))+
                        .unwrap_or_default()
                }
            }

            #[cfg(target_arch = "wasm32")]
            $crate::config_check::bindings::export_validating!(
                Validating with_types_in $crate::config_check::bindings
            );
            #[cfg(not(target_arch = "wasm32"))]
            const _: fn(::std::string::String, ::std::string::String) -> ::std::vec::Vec<$crate::config_check::Problem> =
                <Validating as $crate::config_check::Guest>::validate;
        };
    };
}
