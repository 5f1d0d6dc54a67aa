#!/usr/bin/env bash
# A study in parts, one after the other, then merged. Run again after an interruption, it goes on where it was.
#   PARTS=8 OUT=out ./shell.sh importance MODEL --task mrpc --data GLUE
set -euo pipefail

PARTS=${PARTS:-8}
OUT=${OUT:-out}

for k in $(seq "$PARTS"); do
  bertology "$@" --part "$k/$PARTS" --output "$OUT/part-$k" --resume
done
bertology merge "$OUT"/part-* --output "$OUT/merged" --overwrite
