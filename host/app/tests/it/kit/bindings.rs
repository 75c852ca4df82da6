//! The committed bindings of C and Python are those of wit/v1, which is frozen; a new generator may still change them.

use super::{repository, run, tools};
use std::{collections::BTreeMap, fs, path::Path};
use wit_bindgen_core::{Files, wit_parser::Resolve};

#[test]
fn the_bindings_for_c_are_those_of_the_interface() {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(repository().join("wit/v1")).unwrap();
    let world = resolve
        .select_world(&[package], Some("plugin-validating"))
        .unwrap();
    let mut files = Files::default();
    // The names in them stay those of `plugin`, the world without `config-check`.
    let options = wit_bindgen_c::Opts {
        rename_world: Some("plugin".into()),
        ..Default::default()
    };
    let mut generator = options.build();
    generator.generate(&mut resolve, world, &mut files).unwrap();
    let mut made = 0;
    for (name, bytes) in files.iter() {
        let committed = fs::read(repository().join("sdk/c").join(name)).unwrap();
        assert!(committed == bytes, "sdk/c/{name} is out of date");
        made += 1;
    }
    assert_eq!(made, 3);
}

#[test]
fn the_bindings_for_python_are_those_of_the_interface() {
    let folder = tempfile::tempdir().unwrap();
    // A first build installs the generator.
    let script = format!(
        "lapwing plugin new door --lang python && lapwing plugin build door && \
         PYTHONPATH={}/componentize-py-0.25.1 python3 -c 'import componentize_py; componentize_py.script()' \
         -d door/wit/v1 -w plugin-validating bindings made",
        tools().display()
    );
    let said = run(&script, folder.path());
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let (mut made, mut committed) = (BTreeMap::new(), BTreeMap::new());
    read(&folder.path().join("made/wit_world"), &mut made);
    read(
        &repository().join("sdk/python/bindings/wit_world"),
        &mut committed,
    );
    assert!(!made.is_empty());
    assert_eq!(made, committed);
}

/// Every Python file below a folder.
fn read(folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "py") {
            let name = format!(
                "{}/{}",
                folder.file_name().unwrap().to_string_lossy(),
                path.file_name().unwrap().to_string_lossy()
            );
            files.insert(name, fs::read_to_string(path).unwrap());
        }
    }
}
