//! The program `bertology`; all of it is in the library of this crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    bertology_cli::main(std::env::args_os())
}
