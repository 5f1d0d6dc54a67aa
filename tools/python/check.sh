#!/usr/bin/env bash
# The Python package as users get it: types and style; the wheel built, weighed, installed alone and tried; then every test
# beside transformers, Ray, Dask and the tools that are to take our arrays; the notebooks.
#
#   tools/python/check.sh            the environment is made once, in the user's cache
set -euo pipefail
cd "$(dirname "$0")/../.."

most=$((15 * 1000 * 1000)) # bytes of the wheel

python=${PYTHON:-python3}
requirements=tools/python/requirements.txt
key=$({ "$python" -VV; cat "$requirements"; } | sha256sum | cut -c1-12)
environment=${XDG_CACHE_HOME:-$HOME/.cache}/bertology/python-$key
if [ ! -e "$environment/complete" ]; then
  rm -rf "$environment"
  "$python" -m venv "$environment"
  "$environment/bin/pip" install --quiet --no-cache-dir --requirement "$requirements"
  touch "$environment/complete"
fi
bin=$environment/bin
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH

echo "- style and types"
"$bin/ruff" check --quiet python tools/python
"$bin/ruff" format --quiet --check python tools/python
"$bin/mypy" --cache-dir "$scratch/mypy" python/bertology

echo "- the wheel"
# As pip builds it, from a checkout; cargo's folder is the checkout's, so that a second build is short.
"$bin/maturin" build --quiet --out "$scratch/wheels"
wheel=$(ls "$scratch"/wheels/*.whl)
# As a release does it.
"$bin/python" tools/python/repack.py "$wheel"
bytes=$(stat --format %s "$wheel")
echo "  $(basename "$wheel"): $bytes bytes"
[ "$bytes" -lt "$most" ] || { echo "the wheel has $bytes bytes; it may have $most"; exit 1; }

echo "- alone with numpy"
"$python" -m venv "$scratch/alone"
"$scratch/alone/bin/pip" install --quiet "$wheel"
others=$("$scratch/alone/bin/pip" list --format freeze | grep --invert-match --extended-regexp '^(pip|setuptools|wheel|numpy|bertology)[=@ ]' || true)
[ -z "$others" ] || { echo "the wheel asks for more than numpy: $others"; exit 1; }
(
  cd "$scratch"
  alone/bin/python -c 'from bertology import embedded; print(" ", embedded.model().head_importance(embedded.sentences()))'
  alone/bin/bertology --version
  alone/bin/python -m bertology demo --quiet
  # The best of five: what is measured is the package, not the disk.
  alone/bin/python - <<'TIME'
import subprocess, sys

program = "import numpy, time; start = time.perf_counter(); import bertology; print(time.perf_counter() - start)"
best = min(float(subprocess.check_output([sys.executable, "-c", program])) for _ in range(5))
print(f"  import bertology: {best:.3f} s after numpy")
sys.exit(0 if best < 0.3 else "importing takes too long")
TIME
)

echo "- every test"
"$bin/pip" install --quiet --force-reinstall --no-deps "$wheel"
"$bin/python" -m pytest -q -p no:cacheprovider --rootdir python python/tests

echo "- notebooks"
"$bin/python" tools/python/notebooks.py
