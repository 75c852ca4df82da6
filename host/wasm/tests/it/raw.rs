//! Guests written by hand: core WebAssembly as text, in the place of the module of a component that was built for our
//! world (`plugins/fixtures/v1`). For what no toolchain emits.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// Where `describe` finds its answer.
const INFO: u32 = 1024;
/// Where the allocator begins; below it, from [`ANSWER`], all is zero.
const HEAP: u32 = 16_384;
/// Where a `check` may lay down its answer: `ok(up)` with an empty message as it is.
pub(crate) const ANSWER: u32 = 8192;

/// A guest in the making.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    /// Body of `check`; leaves the address of its answer.
    pub(crate) check: &'static str,
    /// More items of the module, imports aside.
    pub(crate) items: &'static str,
    /// The module's imports, which come first.
    pub(crate) imports: &'static str,
    /// Pages of memory at the start.
    pub(crate) pages: u32,
    /// Whether its strings are UTF-16.
    pub(crate) wide: bool,
    /// The plugin's name.
    pub(crate) name: &'static str,
}

impl Raw {
    /// A guest whose `check` has this body, and that is well otherwise.
    pub(crate) fn check(check: &'static str) -> Self {
        Self {
            check,
            items: "",
            imports: "",
            pages: 1,
            wide: false,
            name: "raw",
        }
    }

    /// The module as text. The kind is `fixture-raw`.
    fn module(&self) -> String {
        let mut data = String::new();
        for byte in self.described() {
            write!(data, "\\{byte:02x}").unwrap();
        }
        let Self {
            check,
            items,
            imports,
            pages,
            ..
        } = self;
        format!(
            r#"(module {imports}
              (memory (export "memory") {pages})
              (global $next (mut i32) (i32.const {HEAP}))
              (data (i32.const {INFO}) "{data}")
              (func (export "cabi_realloc") (param i32 i32) (param $align i32) (param $size i32) (result i32)
                (global.set $next (i32.and
                  (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
                  (i32.sub (i32.const 0) (local.get $align))))
                (global.get $next)
                (global.set $next (i32.add (global.get $next) (local.get $size))))
              {items}
              (func (export "lapwing:plugin/checker@1.0.0#describe") (result i32) (i32.const {INFO}))
              (func (export "lapwing:plugin/checker@1.0.0#check")
                (param i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32) (result i32) {check}))"#
        )
    }

    /// A `plugin-info` record of one kind, by the canonical ABI's layout.
    fn described(&self) -> Vec<u8> {
        let (info, kind) = (60_usize, 88_usize);
        let mut bytes = vec![0; info + 4 + kind];
        let mut put = |at: usize, text: &str| {
            let units: Vec<u8> = if self.wide {
                text.encode_utf16().flat_map(u16::to_le_bytes).collect()
            } else {
                text.as_bytes().to_vec()
            };
            bytes.resize(bytes.len().next_multiple_of(2), 0);
            let address = INFO + u32::try_from(bytes.len()).unwrap();
            bytes[at..at + 4].copy_from_slice(&address.to_le_bytes());
            bytes[at + 4..at + 8].copy_from_slice(&u32::try_from(text.len()).unwrap().to_le_bytes());
            bytes.extend(units);
        };
        let first = info + 4;
        put(0, self.name);
        put(8, "0.1.0");
        put(16, "by hand");
        put(first, "fixture-raw");
        put(first + 8, "Raw");
        put(first + 16, "by hand");
        put(first + 24, r#"{"type":"object"}"#);
        put(first + 32, "{}");
        bytes[48..52].copy_from_slice(&1_u32.to_le_bytes());
        bytes[52..56].copy_from_slice(&(INFO + u32::try_from(first).unwrap()).to_le_bytes());
        bytes[56..60].copy_from_slice(&1_u32.to_le_bytes());
        bytes
    }

    /// The component.
    pub(crate) fn component(&self) -> Vec<u8> {
        let whole = fs::read(built(if self.wide {
            "whole_world_utf16.wasm"
        } else {
            "whole_world.wasm"
        }))
        .unwrap();
        with_module(&whole, &wat::parse_str(self.module()).unwrap())
    }

    /// The component as a file, which goes when it is dropped.
    pub(crate) fn file(&self) -> NamedTempFile {
        file(&self.component())
    }
}

/// These bytes as a plugin file.
pub(crate) fn file(bytes: &[u8]) -> NamedTempFile {
    let file = tempfile::Builder::new().suffix(".wasm").tempfile().unwrap();
    fs::write(file.path(), bytes).unwrap();
    file
}

/// A component that is kept as it was built.
pub(crate) fn built(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../plugins/fixtures/v1")
        .join(name)
}

/// A component with another first core module: a section of id 1 (Component Model, Binary.md).
fn with_module(component: &[u8], module: &[u8]) -> Vec<u8> {
    let mut at = 8;
    loop {
        let (id, (size, digits)) = (component[at], number(&component[at + 1..]));
        let (content, next) = (at + 1 + digits, at + 1 + digits + size);
        if id == 1 {
            assert!(component[content..].starts_with(b"\0asm"));
            let mut length = Vec::new();
            let mut left = module.len();
            while left > 0x7f {
                length.push(u8::try_from(left & 0x7f).unwrap() | 0x80);
                left >>= 7;
            }
            length.push(u8::try_from(left).unwrap());
            return [&component[..=at], &length, module, &component[next..]].concat();
        }
        at = next;
    }
}

/// A component with so many more core instances, of a module with nothing in it.
pub(crate) fn crowded(component: &[u8], instances: u8) -> Vec<u8> {
    let (mut at, mut modules) = (8, 0_u8);
    while at < component.len() {
        let (size, digits) = number(&component[at + 1..]);
        modules += u8::from(component[at] == 1);
        at += 1 + digits + size;
    }
    assert!(instances < 42 * 2 && modules < 128);
    // A core instance section (id 2): each is made (0) of that module, with no arguments.
    let section: Vec<_> = [instances]
        .into_iter()
        .chain([0, modules, 0].repeat(instances.into()))
        .collect();
    let length = [
        u8::try_from(section.len() % 128).unwrap() | 128,
        u8::try_from(section.len() / 128).unwrap(),
    ];
    [component, b"\x01\x08\0asm\x01\0\0\0\x02", &length, &section].concat()
}

/// An unsigned LEB128 number and its length.
fn number(bytes: &[u8]) -> (usize, usize) {
    let digits = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let value = bytes[..digits]
        .iter()
        .rev()
        .fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
    (value, digits)
}
