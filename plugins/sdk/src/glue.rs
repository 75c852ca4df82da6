//! Between the interface and the [`Checker`] trait. Called by the code that [`export_checker!`](crate::export_checker)
//! writes, and by nothing else.

use crate::{
    Capability, Checker, Context, Failure,
    bindings::lapwing::plugin::types::{self, CheckError, CheckType, Outcome, PluginInfo, Request},
};
use schemars::generate::SchemaSettings;
use serde_json::Value;
use std::time::Duration;

/// A plugin's package, as Cargo knows it.
#[derive(Debug, Clone, Copy)]
pub struct Package {
    /// `CARGO_PKG_NAME`.
    pub name: &'static str,
    /// `CARGO_PKG_VERSION`.
    pub version: &'static str,
    /// `CARGO_PKG_DESCRIPTION`.
    pub summary: &'static str,
    /// `CARGO_PKG_LICENSE`.
    pub license: &'static str,
    /// `CARGO_PKG_HOMEPAGE`.
    pub homepage: &'static str,
}

/// Answers `describe`. The package's name is told without a leading `lapwing-`.
pub fn describe(package: Package, max_reuse: &[u32], check_types: Vec<CheckType>) -> PluginInfo {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    PluginInfo {
        name: package
            .name
            .strip_prefix("lapwing-")
            .unwrap_or(package.name)
            .to_owned(),
        version: package.version.to_owned(),
        summary: package.summary.to_owned(),
        license: given(package.license),
        homepage: given(package.homepage),
        max_reuse: max_reuse.iter().copied().min().unwrap_or(1),
        check_types,
    }
}

/// One entry of that answer.
pub fn check_type<C: Checker>() -> CheckType {
    let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    CheckType {
        name: C::KIND.to_owned(),
        title: C::TITLE.to_owned(),
        summary: C::SUMMARY.to_owned(),
        config_schema: C::SCHEMA.map_or_else(|| schema::<C>().to_string(), str::to_owned),
        example_config: C::EXAMPLE.to_owned(),
        sensitive: C::SENSITIVE.iter().map(|&pointer| pointer.to_owned()).collect(),
        default_interval: C::DEFAULT_INTERVAL.map(nanos),
        default_timeout: C::DEFAULT_TIMEOUT.map(nanos),
        capabilities: C::CAPABILITIES.iter().map(capability).collect(),
    }
}

/// Self-contained: what a type refers to is put in its place, so that a form can be drawn from it without looking up.
pub(crate) fn schema<C: Checker>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<C::Config>();
    schema.insert("title".to_owned(), C::TITLE.into());
    schema.to_value()
}

fn capability(needed: &Capability) -> types::Capability {
    types::Capability {
        name: needed.name.to_owned(),
        scope: needed.scope.iter().map(|&pattern| pattern.to_owned()).collect(),
        optional: needed.optional,
        reason: needed.reason.to_owned(),
    }
}

/// Runs `request` if it is for `C`; hands it back if it is for another kind.
pub fn run<C: Checker>(request: Request) -> Result<Result<Outcome, CheckError>, Request> {
    if request.check_type != C::KIND {
        return Err(request);
    }
    #[cfg(target_family = "wasm")]
    crate::panic::tell();
    let config: C::Config = match serde_json::from_str(&request.config) {
        Ok(config) => config,
        Err(error) => return Ok(Err(CheckError::InvalidConfig(error.to_string()))),
    };
    let context = Context {
        monitor_id: request.monitor_id,
        run_id: request.run_id,
        attempt: request.attempt,
        previous: request.previous,
        budget: Duration::from_nanos(request.budget),
    };
    Ok(match C::check(config, &context) {
        Ok(outcome) => Ok(outcome),
        Err(Failure::Target(outcome)) => Ok(*outcome),
        Err(Failure::Check(error)) => Err(error),
    })
}

/// Makes a plugin of one or more [`Checker`]s: `export_checker!(Smtp);`, `export_checker!(Imap, Pop3);`.
///
/// Use it once, in a crate whose `crate-type` is `cdylib`. Name, version, summary and licence of the plugin are those
/// of its package.
#[macro_export]
macro_rules! export_checker {
    ($($checker:ty),+ $(,)?) => {
        const _: () = {
            struct Plugin;

            impl $crate::bindings::exports::lapwing::plugin::checker::Guest for Plugin {
                fn describe() -> $crate::bindings::lapwing::plugin::types::PluginInfo {
                    let package = $crate::glue::Package {
                        name: env!("CARGO_PKG_NAME"),
                        version: env!("CARGO_PKG_VERSION"),
                        summary: env!("CARGO_PKG_DESCRIPTION"),
                        license: env!("CARGO_PKG_LICENSE"),
                        homepage: env!("CARGO_PKG_HOMEPAGE"),
                    };
                    $crate::glue::describe(
                        package,
                        &[$(<$checker as $crate::Checker>::MAX_REUSE),+],
                        vec![$($crate::glue::check_type::<$checker>()),+],
                    )
                }

                fn check(
                    request: $crate::bindings::lapwing::plugin::types::Request,
                ) -> ::core::result::Result<
                    $crate::Outcome,
                    $crate::bindings::lapwing::plugin::types::CheckError,
                > {
                    $(
                        let request = match $crate::glue::run::<$checker>(request) {
                            Ok(result) => return result,
                            Err(request) => request,
                        };
                    )+
                    Err($crate::glue::unknown_kind(&request))
                }
            }

            $crate::export_plugin!(Plugin);
        };
    };
}

/// Exports a hand-written implementation of the world. [`export_checker!`](crate::export_checker) is the usual way.
///
/// On any other target than WebAssembly it only checks that there is an implementation, so that a plugin's logic is
/// tested like that of any other crate.
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ident) => {
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::export_world!($plugin with_types_in $crate::bindings);
        #[cfg(not(target_arch = "wasm32"))]
        const _: $crate::glue::Exports = (
            <$plugin as $crate::bindings::exports::lapwing::plugin::checker::Guest>::describe,
            <$plugin as $crate::bindings::exports::lapwing::plugin::checker::Guest>::check,
        );
    };
}

/// What a plugin exports: `describe` and `check`.
pub type Exports = (fn() -> PluginInfo, fn(Request) -> Result<Outcome, CheckError>);

/// The answer to a kind the plugin did not claim. The host never asks for one.
pub fn unknown_kind(request: &Request) -> CheckError {
    CheckError::Unsupported(format!("no kind `{}` in this plugin", request.check_type))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NetError, Status, net::Fault};
    use schemars::JsonSchema;
    use serde::Deserialize;

    struct Sample;

    /// What to do.
    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Config {
        Up,
        Refused,
        Denied,
    }

    impl Checker for Sample {
        const KIND: &'static str = "sample";
        const TITLE: &'static str = "Sample";
        const SUMMARY: &'static str = "a sample";
        const EXAMPLE: &'static str = r#""up""#;
        type Config = Config;

        fn check(config: Config, _: &Context) -> Result<Outcome, Failure> {
            match config {
                Config::Up => Ok(Outcome::up("fine")),
                Config::Refused => Err(NetError::from(Fault::Refused).during("m:25").into()),
                Config::Denied => Err(NetError::from(Fault::AccessDenied("rule".into())).into()),
            }
        }
    }

    fn request(check_type: &str, config: &str) -> Request {
        Request {
            check_type: check_type.to_owned(),
            monitor_id: String::new(),
            run_id: String::new(),
            config: config.to_owned(),
            budget: 0,
            attempt: 1,
            previous: None,
        }
    }

    fn answer(config: &str) -> Result<Outcome, CheckError> {
        run::<Sample>(request("sample", config)).unwrap()
    }

    #[test]
    fn a_plugin_is_described_from_its_package_and_types() {
        let package = Package {
            name: "lapwing-sample",
            version: "1.2.3",
            summary: "s",
            license: "Apache-2.0",
            homepage: "",
        };
        let info = describe(package, &[4, 2], vec![check_type::<Sample>()]);
        assert_eq!((info.name.as_str(), info.version.as_str()), ("sample", "1.2.3"));
        assert_eq!(info.max_reuse, 2, "the least of its kinds");
        assert_eq!(
            (info.license.as_deref(), info.homepage),
            (Some("Apache-2.0"), None)
        );
        let schema: Value = serde_json::from_str(&info.check_types[0].config_schema).unwrap();
        assert_eq!(schema["title"], "Sample");
        assert_eq!(schema["description"], "What to do.");
        assert_eq!(schema["enum"], serde_json::json!(["up", "refused", "denied"]));
    }

    #[test]
    fn a_request_for_another_kind_is_handed_back() {
        assert_eq!(
            run::<Sample>(request("other", "\"up\"")).unwrap_err().check_type,
            "other"
        );
    }

    #[test]
    fn a_failed_call_ends_as_what_the_target_did() {
        assert_eq!(answer("\"up\"").unwrap().status, Status::Up);
        let outcome = answer("\"refused\"").unwrap();
        assert_eq!(outcome.status, Status::Down);
        assert_eq!(outcome.reason.as_deref(), Some("connection_refused"));
        assert_eq!(outcome.message, "m:25: connection refused");
    }

    #[test]
    fn a_refusal_or_an_unfit_configuration_is_no_verdict() {
        assert!(
            matches!(answer("\"denied\""), Err(CheckError::Denied(text)) if text == "access denied: rule")
        );
        assert!(matches!(answer("\"other\""), Err(CheckError::InvalidConfig(_))));
    }
}
