//! Panics of the tokenizer library, kept from whoever called this one.
//!
//! The library's parsers and post-processors panic on some damaged files. What [`crate::check`] does not find
//! before ends here: the panic is caught and becomes an error, and nothing that it left half done is used.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread is inside the tokenizer library, where a panic becomes an error. A program that
/// sets a panic hook (`std::panic::set_hook`) may stay silent then: nobody needs to hear of it twice.
#[must_use]
pub fn contains_panics() -> bool {
    INSIDE.get()
}

/// What `work` gives, or what it said when it panicked.
pub(crate) fn contained<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let before = INSIDE.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    INSIDE.set(before);
    result.map_err(|said| said_by(&*said))
}

fn said_by(said: &(dyn Any + Send)) -> String {
    let text = said
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| said.downcast_ref::<&str>().copied())
        .unwrap_or("no reason given");
    format!("the tokenizer library gave up ({text})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_text() {
        assert_eq!(contained(|| 3), Ok(3));
        let number = 4;
        let said = contained(|| assert!(!contains_panics(), "inside, {number}"));
        let said = said.expect_err("it panicked");
        assert_eq!(said, "the tokenizer library gave up (inside, 4)");
        assert!(!contains_panics());
    }
}
