#!/usr/bin/env bash
# Puts the parts of slurm-array.sh together.
#SBATCH --job-name=bertology-merge
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=00:30:00
#SBATCH --requeue
#SBATCH --output=bertology-merge-%j.log
set -euo pipefail

OUT=${OUT:-out}

exec bertology merge "$OUT"/part-* --output "$OUT/merged" --overwrite
