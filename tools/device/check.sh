#!/usr/bin/env bash
# Graphics cards against the processor, on the card that there is or on Mesa's program that acts as one: every operation, the
# engine's golden tests and laws (also over the processor's own operations, in f64 too), studies of the embedded models.
#
#   tools/device/check.sh            as root it installs that program where there is no driver of Vulkan
set -euo pipefail
cd "$(dirname "$0")/../.."

# A driver is a file of this kind.
drivers() {
  find /usr/share/vulkan/icd.d /etc/vulkan/icd.d -name '*.json' 2>/dev/null | grep -q . \
    && ldconfig -p | grep -q libvulkan.so.1
}

if [ "$(uname)" = Linux ] && ! drivers; then
  echo "- mesa-vulkan-drivers and libvulkan1"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends mesa-vulkan-drivers libvulkan1 >/dev/null
fi

# Mesa would look for a screen, and complain that there is none.
export NODEVICE_SELECT=1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# As the README's test command builds them.
tests="cargo test --quiet --release --workspace --all-features"
engine="golden:: laws:: finite:: shared:: neurons:: distances:: contacts:: tables:: folding:: shortcuts:: interventions::"

echo "- operations"
$tests --test needs_a_card -- --include-ignored
echo "- the engine on the processor's operations"
BERTOLOGY_TEST_DEVICE=host $tests --test engine -- $engine
echo "- the engine on the card"
BERTOLOGY_TEST_DEVICE=gpu $tests --test engine -- $engine 2>"$scratch/said" || { cat "$scratch/said"; exit 1; }
echo "- studies on the card"
cargo build --quiet --release --workspace --all-features --bin bertology
python3 tools/device/studies.py --binary "${CARGO_TARGET_DIR:-target}/release/bertology" --device gpu:0 --limit 60 \
  --only '^(importance|importance-lm|ablate|patterns|cluster|evaluate-lm|extract|extract-gradients|mask|prune-shape|compress-uniform|predict|relations|contacts|verify|view|cat)$'
