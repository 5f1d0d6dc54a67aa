//! NumPy's `.npy` files: the library's reader and writer, under the name that the commands use.

pub(crate) use bertology::store::npy::{Element, decode, encode, header};
