//! `bertology attention-probe`: which word is the head of which, read off all attention maps together.

#[cfg(feature = "probes")]
mod trained;

#[cfg(feature = "probes")]
pub(crate) use trained::run;

#[cfg(not(feature = "probes"))]
pub(crate) fn run(
    _args: crate::args::AttentionProbeArgs,
    _screen: &crate::show::Screen,
) -> Result<super::Done, crate::failure::Failure> {
    Err(crate::failure::Failure::input(
        "this build has no attention probes; build it with them: cargo build --release --features \
         probes",
    ))
}
