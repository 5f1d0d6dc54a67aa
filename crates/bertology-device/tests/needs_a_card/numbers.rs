//! The card, numbers for it, and how far results may be from each other.

use std::sync::OnceLock;

use bertology_device::Wgpu;
use bertology_device::wgpu::Which;

/// Nothing but moves, and single operations that every device rounds alike.
pub(crate) const EXACT: f32 = 0.0;

/// Sums of up to a thousand terms of size 1 in `f32`, in another order: the square root of a thousand roundings of 6e-8, of the
/// largest result.
pub(crate) const SUMS: f32 = 2e-6;

/// Elementary functions, which both compute to within a few roundings of 6e-8 of size 1.
pub(crate) const FUNCTIONS: f32 = 1e-6;

/// The card that tests run on.
pub(crate) fn card() -> &'static Wgpu {
    static CARD: OnceLock<Wgpu> = OnceLock::new();
    CARD.get_or_init(|| match Wgpu::open(Which::Best) {
        Ok(card) => card,
        Err(error) => panic!(
            "{error}. These tests need a graphics card or a program that acts as one: `apt-get install mesa-vulkan-drivers libvulkan1` brings one (tools/device/check.sh does so)"
        ),
    })
}

/// Numbers in -1 to 1 that look like chance.
pub(crate) fn random(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Whether two results are the same but for `tolerance` times the largest number of the first.
#[track_caller]
pub(crate) fn assert_close(what: &str, expected: &[f32], got: &[f32], tolerance: f32) {
    assert_eq!(expected.len(), got.len(), "{what}");
    let finite = expected.iter().filter(|value| value.is_finite());
    let size = finite.fold(0.0_f32, |most, value| most.max(value.abs()));
    for (at, (expected, value)) in expected.iter().zip(got).enumerate() {
        let same = expected == value || (expected.is_nan() && value.is_nan());
        assert!(
            same || (expected - value).abs() <= tolerance * size,
            "{what}: {expected} and {value} at {at} of {}, the largest is {size}",
            got.len()
        );
    }
}

/// Runs a case on the processor and twice on the card: within the tolerance of each other, and the same bits twice.
macro_rules! compare {
    ($tolerance:expr, $case:ident($($argument:expr),*)) => {{
        let what = format!(
            concat!(stringify!($case), "{:?}"),
            ($(&$argument,)*)
        );
        let expected = $case(&bertology_device::Host::new() $(, $argument)*);
        let card = $crate::numbers::card();
        let got = $case(card $(, $argument)*);
        $crate::numbers::assert_close(&what, &expected, &got, $tolerance);
        let again = $case(card $(, $argument)*);
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&got), bits(&again), "{what} gives other bits");
    }};
}
pub(crate) use compare;
