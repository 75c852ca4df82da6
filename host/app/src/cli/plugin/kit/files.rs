//! The embedded files. A test compares these lists with the folders they are of.

use super::Language;

/// One embedded file, under the path it is written to.
#[derive(Debug)]
pub(crate) struct File {
    /// Relative, with `/`.
    pub(crate) path: &'static str,
    /// Its content.
    pub(crate) bytes: &'static [u8],
}

/// `files!("folder of the repository" => "prefix"; "file", …)`
macro_rules! files {
    ($($from:literal => $to:literal: [$($path:literal),+ $(,)?]),+ $(,)?) => {
        &[$($(File {
            path: concat!($to, $path),
            bytes: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../", $from, "/", $path)),
        }),+),+]
    };
}

pub(super) const WIT: &[File] = files!("wit" => "": ["v1/plugin.wit"]);

pub(super) const JS_TOOLS: &[File] = files!("sdk/js/tools" => "": ["package.json"]);

const RUST: &[File] = files!(
    "plugins/sdk" => "lapwing-plugin-sdk/": [
        "README.md", "src/bindings.rs", "src/checker.rs", "src/config_check.rs", "src/dns.rs", "src/failure.rs", "src/glue.rs",
        "src/harness.rs", "src/harness/sys.rs", "src/harness/sys/tcp.rs", "src/harness/sys/udp.rs", "src/http.rs", "src/lib.rs", "src/log.rs",
        "src/net.rs", "src/outcome.rs", "src/panic.rs", "src/sys.rs", "src/tcp.rs", "src/udp.rs", "src/udp/exchange.rs",
    ],
    "sdk/rust" => "lapwing-plugin-sdk/": ["Cargo.toml"],
);

const JS: &[File] = files!("sdk/js" => "lapwing-plugin/": [
    "README.md", "build.mjs", "index.d.ts", "index.js", "lib/dns.js", "lib/errors.js", "lib/fake-host.js", "lib/host.js",
    "lib/http.js", "lib/log.js", "lib/memory.js", "lib/net.js", "lib/outcome.js", "lib/plugin.js", "lib/shape.js",
    "lib/tcp.js", "lib/udp.js", "package.json", "testing.d.ts", "testing.js", "tools/package.json",
]);

const PYTHON: &[File] = files!("sdk/python" => "": [
    "README.md", "bindings/componentize_py_types.py", "bindings/wit_world/__init__.py",
    "bindings/wit_world/exports/__init__.py", "bindings/wit_world/exports/checker.py",
    "bindings/wit_world/exports/config_check.py",
    "bindings/wit_world/imports/__init__.py", "bindings/wit_world/imports/context.py",
    "bindings/wit_world/imports/dns.py", "bindings/wit_world/imports/http.py", "bindings/wit_world/imports/log.py",
    "bindings/wit_world/imports/net_types.py", "bindings/wit_world/imports/secrets.py",
    "bindings/wit_world/imports/state.py", "bindings/wit_world/imports/tcp.py",
    "bindings/wit_world/imports/types.py", "bindings/wit_world/imports/udp.py", "lapwing_plugin/__init__.py", "lapwing_plugin/_interface.py",
    "lapwing_plugin/component.py",
    "lapwing_plugin/dns.py", "lapwing_plugin/errors.py", "lapwing_plugin/http.py", "lapwing_plugin/log.py",
    "lapwing_plugin/net.py", "lapwing_plugin/outcome.py", "lapwing_plugin/plugin.py", "lapwing_plugin/py.typed",
    "lapwing_plugin/secrets.py", "lapwing_plugin/state.py", "lapwing_plugin/tcp.py", "lapwing_plugin/testing.py",
    "lapwing_plugin/udp.py",
]);

const C: &[File] = files!("sdk/c" => "lapwing/": [
    "README.md", "lapwing.c", "lapwing.h", "plugin.c", "plugin.h", "plugin_component_type.o",
]);

const TEMPLATE_RUST: &[File] = files!("sdk/templates/rust" => "": [
    "Cargo.toml", "README.md", "example.json", "gitignore", "plugin.toml", "src/lib.rs",
]);

const TEMPLATE_JS: &[File] = files!("sdk/templates/js" => "": [
    "README.md", "example.json", "gitignore", "package.json", "plugin.toml", "src/plugin.js", "test/plugin.test.js",
]);

const TEMPLATE_PYTHON: &[File] = files!("sdk/templates/python" => "": [
    "README.md", "example.json", "gitignore", "plugin.py", "plugin.toml", "test_plugin.py",
]);

const TEMPLATE_C: &[File] = files!("sdk/templates/c" => "": [
    "README.md", "example.json", "gitignore", "plugin.toml", "src/plugin.c",
]);

/// What goes into `vendor`.
pub(super) fn vendor(language: Language) -> &'static [File] {
    match language {
        Language::Rust => RUST,
        Language::Js => JS,
        Language::Python => PYTHON,
        Language::C => C,
    }
}

/// What a new project begins with. `{{name}}` and `{{ident}}` in it stand for the plugin's name.
pub(super) fn template(language: Language) -> &'static [File] {
    match language {
        Language::Rust => TEMPLATE_RUST,
        Language::Js => TEMPLATE_JS,
        Language::Python => TEMPLATE_PYTHON,
        Language::C => TEMPLATE_C,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, fs, path::Path};

    /// All files below a folder of the repository; what builds and tests leave behind is not the SDK's.
    fn below(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                if !name.ends_with("__pycache__") {
                    below(&entry.path(), &format!("{name}/"), found);
                }
            } else {
                found.insert(name);
            }
        }
    }

    #[test]
    fn every_file_of_the_kit_is_embedded() {
        let folders = [
            ("sdk/js", "lapwing-plugin/", JS),
            ("sdk/python", "", PYTHON),
            ("sdk/c", "lapwing/", C),
            ("sdk/templates/rust", "", TEMPLATE_RUST),
            ("sdk/templates/js", "", TEMPLATE_JS),
            ("sdk/templates/python", "", TEMPLATE_PYTHON),
            ("sdk/templates/c", "", TEMPLATE_C),
            ("plugins/sdk/src", "lapwing-plugin-sdk/src/", RUST),
            ("wit", "", WIT),
        ];
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for (folder, prefix, files) in folders {
            let mut found = BTreeSet::new();
            below(&root.join(folder), prefix, &mut found);
            let listed = files.iter().map(|file| file.path.to_owned());
            let listed: BTreeSet<_> = listed.filter(|path| path.starts_with(prefix)).collect();
            assert_eq!(listed, found, "{folder}");
        }
    }
}
