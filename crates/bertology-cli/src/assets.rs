//! Models and data that are built in, and the form in which the program holds them.

use std::borrow::Cow;
use std::fmt;

/// A file of the folder `assets`.
#[derive(Clone, Copy)]
pub struct Asset {
    /// In the folder, with `/`: a model's files lie in a folder of its name, data in `grammar` and `code`.
    pub path: &'static str,
    held: Held,
}

#[derive(Clone, Copy)]
enum Held {
    AsItIs(&'static [u8]),
    /// Of 32-bit numbers the first bytes, then the second ones, and so on, as `build.rs` makes them.
    Planes(&'static [u8]),
}

impl fmt::Debug for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Asset").field(&self.path).finish()
    }
}

impl Asset {
    pub(crate) const fn as_it_is(path: &'static str, bytes: &'static [u8]) -> Self {
        let held = Held::AsItIs(bytes);
        Self { path, held }
    }

    pub(crate) const fn in_planes(path: &'static str, bytes: &'static [u8]) -> Self {
        let held = Held::Planes(bytes);
        Self { path, held }
    }

    /// The file.
    #[must_use]
    pub fn bytes(&self) -> Cow<'static, [u8]> {
        match self.held {
            Held::AsItIs(bytes) => bytes.into(),
            Held::Planes(planes) => together(planes).into(),
        }
    }
}

/// The bytes in their order, of planes of every fourth.
fn together(planes: &[u8]) -> Vec<u8> {
    const WIDTH: usize = size_of::<f32>();
    let mut bytes = vec![0; planes.len()];
    let places = (0..WIDTH).flat_map(|plane| (plane..planes.len()).step_by(WIDTH));
    for (place, byte) in places.zip(planes) {
        bytes[place] = *byte;
    }
    bytes
}

/// Files by their paths.
macro_rules! assets {
    ($($path:literal),* $(,)?) => {
        &[$($crate::assets::Asset::as_it_is(
            $path,
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/", $path)),
        )),*]
    };
}

/// The weights of a model by its name.
macro_rules! weights {
    ($model:literal) => {
        $crate::assets::Asset::in_planes(
            concat!($model, "/model.safetensors"),
            include_bytes!(concat!(env!("OUT_DIR"), "/", $model, "/model.planes")),
        )
    };
}

pub(crate) use {assets, weights};

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn what_is_built_in_is_the_files_themselves() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
        let mut models = 0;
        for asset in crate::embedded() {
            let file = std::fs::read(folder.join(asset.path)).unwrap();
            assert!(asset.bytes() == file, "{}", asset.path);
            models += usize::from(asset.path.ends_with("/model.safetensors"));
        }
        assert_eq!(models, 3 + usize::from(cfg!(feature = "code")));
    }

    #[test]
    fn planes_of_any_length_come_together() {
        assert_eq!(super::together(b""), b"");
        assert_eq!(super::together(b"ab"), b"ab");
        assert_eq!(super::together(b"aebfcgd"), b"abcdefg");
    }
}
