#!/usr/bin/env bash
# A study in parts, some at a time, by GNU parallel; then merged. Run again, it goes on where it was.
#   PARTS=16 JOBS=4 THREADS=8 OUT=out ./parallel.sh importance MODEL --task mrpc --data GLUE
# Other machines, where bertology, model and data have the same paths: SSH=nodes, a file with one host a line.
set -euo pipefail

PARTS=${PARTS:-8}
JOBS=${JOBS:-2}
THREADS=${THREADS:-1}
OUT=${OUT:-out}
SSH=${SSH:-}

mkdir -p "$OUT"
# One SIGTERM, and time to save: a second one would end the part at once.
seq "$PARTS" | parallel --quote --jobs "$JOBS" ${SSH:+--sshloginfile "$SSH" --workdir .} \
  --retries 3 --joblog "$OUT/parts.log" --termseq TERM,60000,KILL,1000 \
  bertology "$@" --part "{}/$PARTS" --output "$OUT/part-{}" --resume --threads "$THREADS"
bertology merge "$OUT"/part-* --output "$OUT/merged" --overwrite
