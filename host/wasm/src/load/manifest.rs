//! What a plugin says of itself, checked before any monitor relies on it.

use super::LoadError;
use crate::{
    abi::v1::wit::types,
    cache::Record,
    executor::{PluginExecutor, Program},
    plugin::{About, Capability, Plugin},
    quarantine::Quarantine,
    rights::{Right, Sphere, placeholders},
    schema::fit,
    settings::QuarantineSettings,
    text,
};
use lapwing_checks::{KindInfo, Origin, schema::Schema, text::nearest};
use serde_json::Value;
use std::{collections::HashSet, sync::Arc};

/// Largest schema.
const SCHEMA_BYTES: usize = 64 << 10;
/// Most kinds of one plugin.
const KINDS: usize = 32;
/// Largest example.
const EXAMPLE_BYTES: usize = 64 << 10;
/// Most capabilities of one kind.
const CAPABILITIES: usize = 64;
/// Most sensitive places of one kind.
const SENSITIVE: usize = 64;

/// Makes the plugin that described itself in `record`, or says what is unfit in the description.
pub(crate) fn plugin(
    record: Record,
    memory_kib: u64,
    digest: &str,
    program: Program,
    quarantine: &QuarantineSettings,
) -> Result<Plugin, LoadError> {
    let Record { made, facts, .. } = record;
    let described = made.described;
    if program.name.trim().is_empty() {
        return Err(LoadError::Manifest("the plugin has no name".to_owned()));
    }
    // `/api/v1/plugins/reload` is no plugin.
    if &*program.name == "reload" {
        return Err(LoadError::Manifest(
            "`reload` cannot be a plugin's name".to_owned(),
        ));
    }
    check_kinds(&described.check_types)?;
    let version = text::line(&described.version, 64);
    let name = program.name.to_string();
    let mut about = About {
        summary: text::line(&described.summary, 200),
        license: described.license.map(|license| text::line(&license, 100)),
        homepage: described.homepage.map(|homepage| text::line(&homepage, 200)),
        interface: facts.interface,
        imports: facts.imports,
        capabilities: Vec::new(),
        warnings: Vec::new(),
        memory_kib,
        compile_ms: made.compile_ms,
    };
    let stats = program.stats.clone();
    let program = Arc::new(program);
    let origin = Origin::Plugin {
        plugin: name.clone(),
        version: version.clone(),
        digest: digest.to_owned(),
    };
    let mut executors = Vec::new();
    for kind in described.check_types {
        let unfit = |why| LoadError::Manifest(format!("kind `{}`: {why}", kind.name));
        let (entry, schema) = entry(&kind, origin.clone()).map_err(unfit)?;
        let declared = kind.capabilities.iter();
        let declared = declared.map(|capability| (capability.name.as_str(), capability.scope.as_slice()));
        let example = entry.example.as_ref().unwrap_or_default();
        let sphere = Sphere::read(&entry.schema, example, declared, &kind.sensitive).map_err(unfit)?;
        about.warnings.extend(warnings(&kind, &sphere));
        let capabilities = kind.capabilities.iter();
        about
            .capabilities
            .extend(capabilities.map(|capability| Capability::new(&kind.name, capability)));
        let executor = PluginExecutor::new(
            entry,
            schema,
            sphere,
            Quarantine::new(quarantine),
            program.clone(),
        );
        executors.push(Arc::new(executor));
    }
    Ok(Plugin {
        name,
        version,
        about,
        executors,
        stats,
    })
}

/// What the author of a kind should mend, though it can serve.
fn warnings(kind: &types::CheckType, sphere: &Sphere) -> Vec<String> {
    let unknown = kind.capabilities.iter().filter_map(|capability| {
        let known = Right::ALL.map(Right::as_str);
        let name = Right::named(&capability.name)
            .is_none()
            .then_some(&capability.name)?;
        let meant = nearest(name, known);
        let meant = meant.map_or_else(
            || {
                format!(
                    "this worker has {}",
                    known.map(|name| format!("`{name}`")).join(", ")
                )
            },
            |near| format!("did you mean `{near}`?"),
        );
        Some(format!("no capability `{name}`; {meant}"))
    });
    let unmarked = sphere.unmarked().advice().map(str::to_owned);
    let strays = kind.capabilities.iter().flat_map(|capability| {
        let paths = capability.scope.iter().flat_map(|text| placeholders(text));
        let strays = paths.filter(|path| !sphere.has(path));
        strays.map(|path| {
            format!(
                "`{{config.{path}}}` in the scope of `{}` is no field of the schema",
                capability.name
            )
        })
    });
    // A host whose port is not marked may be reached at any.
    let portless = kind.capabilities.iter().flat_map(|capability| {
        let ports = capability.scope.iter().filter_map(|text| port(text));
        let ports = ports.filter(|path| sphere.is_no_port(path));
        ports.map(|path| {
            format!("the schema does not mark `{path}` as a port: mark it with `x-lapwing-target: port`, or every port may be reached")
        })
    });
    let bare = kind.sensitive.iter().filter_map(|pointer| {
        let path = pointer.trim_start_matches('/').replace('/', ".");
        let known = pointer.contains('~') || sphere.has(&path);
        (!known)
            .then(|| format!("`{pointer}`, listed as sensitive, is no field of the schema: it hides nothing"))
    });
    let all = unknown.chain(unmarked).chain(strays).chain(portless).chain(bare);
    let mut all: Vec<_> = all.collect();
    all.dedup();
    all.into_iter()
        .map(|warning| text::line(&format!("kind `{}`: {warning}", kind.name), 400))
        .collect()
}

/// The field that `{config.HOST}:{config.PORT}` names as the port.
fn port(scope: &str) -> Option<&str> {
    scope.split_once("}:{config.")?.1.strip_suffix('}')
}

fn check_kinds(kinds: &[types::CheckType]) -> Result<(), LoadError> {
    let refuse = |why: String| Err(LoadError::Manifest(why));
    if kinds.is_empty() || kinds.len() > KINDS {
        return refuse(format!(
            "the plugin provides {} kinds; expected 1 to {KINDS}",
            kinds.len()
        ));
    }
    let mut names = HashSet::new();
    for kind in kinds {
        if !is_kind(&kind.name) {
            let name = text::line(&kind.name, 64);
            return refuse(format!(
                "kind name `{name}` does not match ^[a-z][a-z0-9-]{{0,31}}$"
            ));
        }
        if !names.insert(&kind.name) {
            return refuse(format!("kind `{}` is provided twice", kind.name));
        }
    }
    Ok(())
}

fn is_kind(name: &str) -> bool {
    name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// The catalogue's entry of one kind, and its compiled schema.
fn entry(kind: &types::CheckType, origin: Origin) -> Result<(KindInfo, Schema), String> {
    if kind.config_schema.len() > SCHEMA_BYTES {
        return Err(format!("config-schema is larger than {} KiB", SCHEMA_BYTES >> 10));
    }
    if kind.example_config.len() > EXAMPLE_BYTES {
        return Err(format!(
            "example-config is larger than {} KiB",
            EXAMPLE_BYTES >> 10
        ));
    }
    for (what, count, most) in [
        ("capabilities", kind.capabilities.len(), CAPABILITIES),
        ("sensitive", kind.sensitive.len(), SENSITIVE),
    ] {
        if count > most {
            return Err(format!("{what} has {count} entries; at most {most}"));
        }
    }
    if let Some(pointer) = kind.sensitive.iter().find(|pointer| !pointer.starts_with('/')) {
        return Err(format!(
            "sensitive `{}` is no JSON pointer",
            text::line(pointer, 100)
        ));
    }
    let json = |what: &str, text: &str| -> Result<Value, String> {
        serde_json::from_str(text).map_err(|error| format!("{what} is no JSON: {error}"))
    };
    let value = json("config-schema", &kind.config_schema)?;
    let schema = Schema::new(&value, &kind.sensitive).map_err(|why| format!("config-schema: {why}"))?;
    let example = json("example-config", &kind.example_config)?;
    fit(&schema, &kind.example_config)
        .map_err(|why| format!("example-config does not fit the schema: {why}"))?;
    let summary = if kind.summary.trim().is_empty() {
        &kind.title
    } else {
        &kind.summary
    };
    let entry = KindInfo {
        kind: kind.name.clone(),
        aliases: Vec::new(),
        summary: text::line(summary, 200),
        origin,
        schema: value,
        example: Some(example),
        sensitive: kind.sensitive.clone(),
    };
    Ok((entry, schema))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind() -> types::CheckType {
        types::CheckType {
            name: "ssh-banner".into(),
            title: "SSH".into(),
            summary: String::new(),
            config_schema: r#"{"type":"object","required":["host"]}"#.into(),
            example_config: r#"{"host":"example.com"}"#.into(),
            sensitive: Vec::new(),
            default_interval: None,
            default_timeout: None,
            capabilities: Vec::new(),
        }
    }

    #[test]
    fn kind_names_are_short_and_plain() {
        for name in ["a", "ssh-banner", "x509", &"a".repeat(32)] {
            assert!(is_kind(name), "{name}");
        }
        for name in ["", "1a", "-a", "A", "a_b", "a b", "ä", &"a".repeat(33)] {
            assert!(!is_kind(name), "{name}");
        }
    }

    #[test]
    fn kinds_are_counted_and_unique() {
        assert!(check_kinds(&[kind()]).is_ok());
        assert!(check_kinds(&[]).is_err());
        let many: Vec<_> = (0..33)
            .map(|n| types::CheckType {
                name: format!("k{n}"),
                ..kind()
            })
            .collect();
        assert!(check_kinds(&many[..32]).is_ok());
        assert!(check_kinds(&many).unwrap_err().to_string().contains("33 kinds"));
        assert!(
            check_kinds(&[kind(), kind()])
                .unwrap_err()
                .to_string()
                .contains("provided twice")
        );
    }

    #[test]
    fn slips_that_leave_a_kind_useless_are_warned_of() {
        let declared = |name: &str, scope: &[&str]| types::Capability {
            name: name.into(),
            scope: scope.iter().map(|&text| text.to_owned()).collect(),
            optional: false,
            reason: String::new(),
        };
        let told = |capability: types::Capability| {
            let kind = types::CheckType {
                config_schema:
                    r#"{"properties":{"host":{"type":"string"},"port":{}},"additionalProperties":false}"#
                        .into(),
                capabilities: vec![capability],
                sensitive: vec!["/host".into(), "/pasword".into()],
                ..kind()
            };
            let (entry, _) = entry(&kind, Origin::Native).unwrap();
            let declared = kind.capabilities.iter();
            let declared = declared.map(|capability| (&*capability.name, capability.scope.as_slice()));
            let sphere = Sphere::read(&entry.schema, &entry.example.unwrap(), declared, &[]).unwrap();
            let mut told = warnings(&kind, &sphere);
            let bare = told.pop().unwrap();
            assert!(
                bare.contains("`/pasword`, listed as sensitive, is no field"),
                "{bare}"
            );
            told
        };
        assert_eq!(
            told(declared("net.tpc", &["{config.host}"])),
            ["kind `ssh-banner`: no capability `net.tpc`; did you mean `net.tcp`?"]
        );
        assert!(told(declared("icmp.ping", &[]))[0].contains("this worker has `net.http`, `net.tcp`"));
        assert_eq!(
            told(declared("net.tcp", &["{config.host}:{config.port}"])),
            [
                "kind `ssh-banner`: no field of the schema is marked as target: mark `host` with \
              `format: hostname` or `x-lapwing-target: host`",
                "kind `ssh-banner`: the schema does not mark `port` as a port: mark it with \
              `x-lapwing-target: port`, or every port may be reached"
            ]
        );
        assert_eq!(told(declared("net.tcp", &["10.0.0.1:25"])), [""; 0]);
        assert_eq!(
            told(declared("net.tcp", &["{config.hots}:79"])),
            ["kind `ssh-banner`: `{config.hots}` in the scope of `net.tcp` is no field of the schema"]
        );
    }

    #[test]
    fn unfit_descriptions_say_what_is_unfit() {
        let refusal = |kind: types::CheckType| entry(&kind, Origin::Native).unwrap_err();
        let broken = types::CheckType {
            config_schema: "{".into(),
            ..kind()
        };
        assert!(refusal(broken).contains("config-schema is no JSON"));
        let large = types::CheckType {
            config_schema: format!("{{\"a\":\"{}\"}}", "x".repeat(70_000)),
            ..kind()
        };
        assert!(refusal(large).contains("larger than 64 KiB"));
        let large = types::CheckType {
            example_config: format!("{{\"host\":\"{}\"}}", "x".repeat(70_000)),
            ..kind()
        };
        assert!(refusal(large).contains("example-config is larger than 64 KiB"));
        let secretive = types::CheckType {
            sensitive: vec!["/host".into(); 65],
            ..kind()
        };
        assert!(refusal(secretive).contains("sensitive has 65 entries"));
        let capability = types::Capability {
            name: "net.tcp".into(),
            scope: Vec::new(),
            optional: false,
            reason: String::new(),
        };
        let greedy = types::CheckType {
            capabilities: vec![capability; 65],
            ..kind()
        };
        assert!(refusal(greedy).contains("capabilities has 65 entries"));
        let unfit = types::CheckType {
            example_config: "{}".into(),
            ..kind()
        };
        assert!(refusal(unfit).contains("example-config does not fit the schema: `host`: is missing"));
        let pointer = types::CheckType {
            sensitive: vec!["password".into()],
            ..kind()
        };
        assert!(refusal(pointer).contains("no JSON pointer"));
    }
}
