//! Errors as exceptions, by their kind.

use bertology::Kind;
use bertology_cli::Failure;
use pyo3::exceptions::{PyException, PyKeyboardInterrupt, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

struct Types {
    input: Py<PyType>,
    work: Py<PyType>,
    interrupted: Py<PyType>,
}

static TYPES: PyOnceLock<Types> = PyOnceLock::new();

/// Makes the exceptions, once a process.
pub(crate) fn register<'py>(module: &Bound<'py, PyModule>) -> PyResult<()> {
    let py = module.py();
    let made = |name: &str, doc: &str, bases: &[&Bound<'py, PyType>]| {
        let body = PyDict::new(py);
        body.set_item("__doc__", doc)?;
        body.set_item("__module__", "bertology")?;
        let bases = PyTuple::new(py, bases)?;
        let made = py.get_type::<PyType>().call1((name, bases, body))?;
        Ok::<_, PyErr>(made.cast_into::<PyType>()?)
    };
    let general = made(
        "Error",
        "Whatever bertology refuses or cannot do.",
        &[&py.get_type::<PyException>()],
    )?;
    let input = made(
        "InputError",
        "An argument, a file or data that cannot be used; a ValueError, too.",
        &[&general, &py.get_type::<PyValueError>()],
    )?;
    let work = made(
        "WorkError",
        "The work failed: files, network, numbers; a RuntimeError, too.",
        &[&general, &py.get_type::<PyRuntimeError>()],
    )?;
    let interrupted = made(
        "Interrupted",
        "Stopped by Ctrl-C; a KeyboardInterrupt. What was finished is kept where an output folder was given.",
        &[&py.get_type::<PyKeyboardInterrupt>()],
    )?;
    module.add("Error", &general)?;
    module.add("InputError", &input)?;
    module.add("WorkError", &work)?;
    module.add("Interrupted", &interrupted)?;
    let _ = TYPES.set(
        py,
        Types {
            input: input.unbind(),
            work: work.unbind(),
            interrupted: interrupted.unbind(),
        },
    );
    Ok(())
}

fn made(py: Python<'_>, of: impl Fn(&Types) -> &Py<PyType>, message: String) -> PyErr {
    match TYPES.get(py) {
        Some(types) => PyErr::from_type(of(types).bind(py).clone(), message),
        None => PyRuntimeError::new_err(message),
    }
}

/// An argument that cannot be used.
pub(crate) fn input(py: Python<'_>, message: impl Into<String>) -> PyErr {
    made(py, |types| &types.input, message.into())
}

/// Stopped by the user.
pub(crate) fn interrupted(py: Python<'_>, message: impl Into<String>) -> PyErr {
    made(py, |types| &types.interrupted, message.into())
}

/// How a command ended.
pub(crate) fn failure(py: Python<'_>, failure: &Failure) -> PyErr {
    let message = failure.to_string();
    match failure {
        Failure::Input(_) => input(py, message),
        Failure::Work(_) => made(py, |types| &types.work, message),
        Failure::Interrupted(_) => interrupted(py, message),
    }
}

/// A fault that the library found.
pub(crate) fn library(py: Python<'_>, error: &bertology::Error) -> PyErr {
    let message = bertology_cli::sentence(error);
    match error.kind() {
        Kind::Input => input(py, message),
        Kind::Interrupted => interrupted(py, message),
        Kind::Environment | Kind::Numeric | Kind::Internal => {
            made(py, |types| &types.work, message)
        }
    }
}
