//! One transformer engine with taps on every head.
