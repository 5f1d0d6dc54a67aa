#!/usr/bin/env bash
# One part of a study a task of a Slurm array; the array is 1-PARTS. slurm-merge.sh puts the parts together.
#   export PARTS=8 OUT=out
#   id=$(sbatch --parsable --array=1-$PARTS slurm-array.sh importance MODEL --task mrpc --data GLUE)
#   sbatch --dependency=afterok:$id slurm-merge.sh
#SBATCH --job-name=bertology
#SBATCH --cpus-per-task=4
#SBATCH --mem=4G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=bertology-%A_%a.log
set -euo pipefail

PARTS=${PARTS:?the number of parts, also of this array}
OUT=${OUT:-out}

# In the place of the shell, so that Slurm's SIGTERM reaches it.
exec bertology "$@" --part "$SLURM_ARRAY_TASK_ID/$PARTS" --output "$OUT/part-$SLURM_ARRAY_TASK_ID" \
  --resume --threads "${SLURM_CPUS_PER_TASK:-1}"
