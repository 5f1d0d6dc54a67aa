#!/usr/bin/env bash
# The pages: current with their sources, typed, and working in a browser without a network.
#
#   tools/web/check.sh            installs what is missing (Debian), checks, tests
#   PICTURES=docs/pictures tools/web/check.sh   also renews the pictures of the documentation
#
# Needs the command built: BERTOLOGY=path, or target/release/bertology.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD

missing=()
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
[ -x "${CHROMIUM:-/usr/bin/chromium}" ] || missing+=(chromium fonts-inter)
if [ -n "${PICTURES:-}" ]; then
  command -v pngquant >/dev/null || missing+=(pngquant)
fi
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if [ -n "${PICTURES:-}" ]; then
  export PICTURES=$(realpath -m "$PICTURES")
fi
export BERTOLOGY=$(realpath -m "${BERTOLOGY:-$root/target/release/bertology}")
cd web
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
npm run --silent check
npm --silent test
