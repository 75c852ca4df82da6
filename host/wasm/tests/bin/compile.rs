//! `lapwing plugin compile` without the rest of `lapwing`, for this crate's tests and benches.

fn main() -> std::process::ExitCode {
    let job = std::env::args().nth(3).unwrap_or_default();
    lapwing_wasm::compile_child(&job)
}
