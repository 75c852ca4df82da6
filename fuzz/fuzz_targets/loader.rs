//! What the loader makes of a file: any bytes, and components as they come. What it takes, the compiler takes or refuses,
//! and does not fall over.

#![no_main]

use libfuzzer_sys::{
    arbitrary::{Result, Unstructured},
    fuzz_target,
};
use wasm_smith::{Component, Config};

fuzz_target!(|bytes: &[u8]| {
    if lapwing_wasm::fuzz::inspect(bytes).is_ok() {
        let _ = lapwing_wasm::fuzz::compile(bytes);
    }
    let _ = smith(bytes);
});

fn smith(bytes: &[u8]) -> Result<()> {
    let component = Component::new(Config::default(), &mut Unstructured::new(bytes))?;
    let bytes = component.to_bytes();
    let why = lapwing_wasm::fuzz::inspect(&bytes).expect_err("none of these exports a checker");
    assert!(!why.contains("truncated") && !why.contains("not WebAssembly"), "a whole component: {why}");
    Ok(())
}
