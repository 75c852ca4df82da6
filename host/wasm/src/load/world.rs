//! Which world a component was built for. Asked before compiling, which may take long, and linking, because the
//! engine's own text on a missing import ("a matching implementation was not found in the linker") leaves plugin authors guessing.

use super::{LoadError, start::Start};
use crate::{
    abi::v1::{CHECKER, PACKAGE, VERSION},
    settings::RunLimits,
};
use serde::{Deserialize, Serialize};
use wasmparser::{BinaryReaderError, Parser, Payload};
use wasmtime::component::Component;

/// Every WASI package that is linked, at 0.2.
const WASI: [&str; 8] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:http/outgoing-handler@",
    "wasi:http/types@",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];
/// Most imports and exports of one component; toolchains make some dozens.
const NAMES: usize = 1000;
/// Bytes of a page of linear memory.
const PAGE: u64 = 64 << 10;

/// What a component's imports and exports show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// The version of `lapwing:plugin` it exports its checker in.
    pub(crate) interface: String,
    pub(crate) imports: Vec<String>,
    pub(crate) start: Start,
}

/// Refuses the bytes of a component that this host cannot link.
pub(crate) fn inspect(bytes: &[u8]) -> Result<Facts, LoadError> {
    let broken = |error: BinaryReaderError| super::invalid(&error.to_string());
    let (imports, exports) = names(bytes).map_err(broken)?;
    if imports.len() + exports.len() > NAMES {
        return Err(LoadError::Invalid(format!(
            "it has more than {NAMES} imports and exports"
        )));
    }
    for name in imports.iter().chain(&exports) {
        check_version(name)?;
    }
    if let Some(unknown) = imports.iter().find(|name| !is_offered(name)) {
        return Err(LoadError::UnknownImport(unknown.clone()));
    }
    let checker = exports
        .iter()
        .find_map(|name| name.strip_prefix(CHECKER)?.strip_prefix('@'));
    let interface = checker.ok_or(LoadError::NoChecker)?.to_owned();
    let start = Start::of(bytes).map_err(broken)?;
    Ok(Facts {
        interface,
        imports,
        start,
    })
}

/// The outermost component's imports and exports. Reads the sections' outlines only.
fn names(bytes: &[u8]) -> Result<(Vec<String>, Vec<String>), BinaryReaderError> {
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section.into_iter().take(NAMES + 1) {
                    imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section.into_iter().take(NAMES + 1) {
                    exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

/// A name of ours must be of a version that this host speaks.
fn check_version(name: &str) -> Result<(), LoadError> {
    let Some((_, version)) = name.strip_prefix(PACKAGE).and_then(|name| name.split_once('@')) else {
        return Ok(());
    };
    let mut numbers = version.split(['.', '-', '+']).map(str::parse::<u64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if major == VERSION.0 && minor <= VERSION.1 => Ok(()),
        _ => Err(LoadError::Version(version.to_owned())),
    }
}

fn is_offered(import: &str) -> bool {
    import.starts_with(PACKAGE)
        || WASI.iter().any(|package| import.starts_with(package)) && import.contains("@0.2.")
}

/// Initial memory in KiB, and the number of memories; refused when anything at the start is over its limit: better told at
/// load than at every run.
pub(crate) fn memory(
    component: &Component,
    start: &Start,
    limits: &RunLimits,
) -> Result<(u64, u32), LoadError> {
    let Some(needed) = component.resources_required() else {
        return Err(LoadError::Invalid("it imports core modules".to_owned()));
    };
    let bytes = if start.memories == needed.num_memories {
        start.bytes
    } else {
        // Some are in components within it, and none is larger than the largest.
        let pages = needed.max_initial_memory_size.unwrap_or(0) * u64::from(needed.num_memories);
        pages.saturating_mul(PAGE)
    };
    if bytes > limits.memory_bytes() as u64 {
        let (needs, limit) = (bytes.div_ceil(1 << 20), limits.memory_mib);
        return Err(LoadError::Resources(format!(
            "{needs} MiB of memory at the start; the limit is {limit} MiB (`plugins.limits.memory_mib`)"
        )));
    }
    for (count, what, limit) in [
        (needed.num_memories, "memories", limits.memories),
        (needed.num_tables, "tables", limits.tables),
        (start.instances, "instances", limits.instances),
    ] {
        if count > limit {
            return Err(LoadError::Resources(format!(
                "{count} {what}; the limit is {limit} (`plugins.limits.{what}`)"
            )));
        }
    }
    let elements = needed.max_initial_table_size.unwrap_or(0);
    if elements > limits.table_elements.into() {
        let limit = limits.table_elements;
        return Err(LoadError::Resources(format!(
            "a table of {elements} elements at the start; the limit is {limit} (`plugins.limits.table_elements`)"
        )));
    }
    Ok((bytes >> 10, needed.num_memories))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_this_host_speaks_pass() {
        assert!(check_version("lapwing:plugin/checker@1.0.0").is_ok());
        assert!(check_version("lapwing:plugin/checker@1.0.7").is_ok());
        assert!(check_version("wasi:io/poll@0.3.0").is_ok(), "not ours to judge");
        for version in ["2.0.0", "1.1.0", "0.9.0", "x"] {
            let error = check_version(&format!("lapwing:plugin/log@{version}"))
                .unwrap_err()
                .to_string();
            assert!(error.starts_with(&format!(
                "built for lapwing:plugin@{version}, this worker supports 1.0"
            )));
        }
    }

    #[test]
    fn wasi_is_offered_at_its_frozen_version() {
        assert!(is_offered("wasi:sockets/tcp@0.2.6"));
        assert!(!is_offered("wasi:sockets/tcp@0.3.0"));
        assert!(is_offered("wasi:http/outgoing-handler@0.2.6"));
        assert!(!is_offered("wasi:http/incoming-handler@0.2.6"));
        assert!(!is_offered("evil:host/shell"));
    }
}
