//! The command line of bertology.
fn main() {}
