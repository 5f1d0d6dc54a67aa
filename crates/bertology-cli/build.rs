//! Weights of the built-in models, first bytes of all their numbers first, then the second ones, and so on: the bytes of
//! signs and exponents are much alike, and a wheel or an archive with the program in it is smaller by .1 MB a model.

use std::path::Path;
use std::{env, fs, io};

/// Of an `f32`.
const BYTES: usize = 4;

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=assets");
    let made = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    for folder in fs::read_dir("assets")? {
        let folder = folder?;
        let weights = folder.path().join("model.safetensors");
        if !weights.exists() {
            continue;
        }
        let bytes = fs::read(weights)?;
        let planes: Vec<u8> = (0..BYTES)
            .flat_map(|plane| bytes.iter().skip(plane).step_by(BYTES).copied())
            .collect();
        let to = Path::new(&made).join(folder.file_name());
        fs::create_dir_all(&to)?;
        fs::write(to.join("model.planes"), planes)?;
    }
    Ok(())
}
