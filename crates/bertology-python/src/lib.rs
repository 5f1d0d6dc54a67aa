//! `bertology._native`: the engine and the command for Python.
//!
//! What users call is the package in `python/bertology`, which this module serves. [`run`] calls a command in this
//! process, [`model`] opens models and puts texts through them, [`passes`] collects what a pass shows, and [`errors`]
//! turns errors into exceptions by their kind.

mod arrays;
mod errors;
mod inbox;
mod inputs;
mod memory;
mod model;
mod passes;
mod run;
mod sites;

use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    errors::register(module)?;
    run::register(module)?;
    module.add_class::<model::Model>()?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}
