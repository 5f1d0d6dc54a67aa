//! Where functions lie in the library: those that are alike lie together, and one that is there twice is kept once. Deflate sees 32 KiB
//! back, so that this takes half a megabyte off the wheel and changes no instruction.
//!
//! The options are those of the linker that rustc brings along and takes by itself for x86-64 Linux. A compiler without it, another
//! linker that somebody has chosen, and other systems are asked for nothing.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    // While one develops, the time to link counts.
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") && rustc_brings_the_linker() {
        println!("cargo::rustc-cdylib-link-arg=-Wl,--icf=all,--bp-compression-sort=both");
    }
}

fn rustc_brings_the_linker() -> bool {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let variable = |name| env::var(name).unwrap_or_default();
    let another = !variable("RUSTC_LINKER").is_empty()
        || variable("CARGO_ENCODED_RUSTFLAGS").contains("link");
    if another || variable("TARGET") != TARGET || variable("HOST") != TARGET {
        return false;
    }
    let sysroot = Command::new(variable("RUSTC"))
        .args(["--print", "sysroot"])
        .output();
    sysroot.is_ok_and(|answer| {
        let sysroot = String::from_utf8_lossy(&answer.stdout);
        let tools = Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET);
        tools.join("bin/gcc-ld/ld.lld").exists()
    })
}
