//! Studies that have all that is theirs in one file: names of files, rows of tables, results.
//!
//! A new study is such a file, and a line in the list below.

use crate::registry::File;

macro_rules! studies {
    ($($name:ident,)*) => {
        $(pub mod $name;)*

        /// What these studies write.
        pub(crate) const FILES: &[&[File]] = &[$($name::FILES,)*];
    };
}

studies! {
    bench,
    cat,
    cluster,
    compress,
    distance,
    dynamics,
    edge,
    finetune,
    judge,
    predict,
    relations,
    removals,
}
