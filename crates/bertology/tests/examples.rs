//! The examples run.

#[path = "../examples/ablate.rs"]
mod ablate;
#[path = "../examples/capture.rs"]
mod capture;
#[path = "../examples/custom_study.rs"]
mod custom_study;
#[path = "../examples/precision.rs"]
mod precision;
#[path = "../examples/prune.rs"]
mod prune;

#[test]
fn a_study_of_ones_own_is_the_same_in_parts() -> Result<(), bertology::Error> {
    custom_study::main()
}

#[test]
fn the_other_examples_run() -> Result<(), Box<dyn std::error::Error>> {
    capture::main()?;
    precision::main()?;
    prune::main()?;
    ablate::main()
}
