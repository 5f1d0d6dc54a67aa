#!/usr/bin/env bash
# Every operation of graphics cards against the processor's, on the card that there is or on Mesa's program that acts as one.
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

echo "- operations"
cargo test --quiet -p bertology-device --features wgpu
