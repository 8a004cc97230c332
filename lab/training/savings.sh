#!/usr/bin/env bash
# Evaluate the shipped policy on the answers of the engine that ships, and write the table of savings into README.md and docs/results.md.
# With `collect` as a second argument: first ask the models what is missing (hours on two cores; an interrupted collection resumes).
set -euo pipefail
pair=$1
cd "$(dirname "$0")/../.."  # relative paths: each command is recorded in what it writes
collected=lab/training/collected/$pair/llamacpp study=lab/training/studies/$pair
figures=$study/evaluation/llamacpp
evaluated=(humaneval mbpp_test extraction)
if [ "${2:-}" = collect ]; then
  # Three questions at once, with one thread a model: two models fill two cores, and more streams write no more together.
  for data in "${evaluated[@]}" mbpp_train; do
    tandem collect "$data" --profile "$pair" --engine llamacpp --only-question --width 3 --threads 1 --out "$collected/$data.parquet"
  done
fi
for data in "${evaluated[@]}"; do
  [ -f "$collected/$data.parquet" ] || continue
  tandem collect "$data" --profile "$pair" --checks-only --out "$collected/$data.parquet"
  tandem eval --data "$data" --profile "$pair" --no-ask --collected "$collected/$data.parquet" --study "$study" --json "$figures/$data.json"
done
python -m lab.training.savings savings "$figures" "${evaluated[@]}"
