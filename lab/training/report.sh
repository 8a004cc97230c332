#!/usr/bin/env bash
# Train, calibrate and evaluate a pair's stop rule from its collected files; writes scorer and thresholds into the profile, and the figures into the study.
set -euo pipefail
pair=$1
cd "$(dirname "$0")/../.."  # relative paths: each command is recorded in what it writes
tandem() { command tandem "$@" --profile "$pair"; }
collected=lab/training/collected/$pair study=lab/training/studies/$pair
files=("$collected/math_train.parquet" "$collected/word_problems.parquet")
also=(--also "$collected/math_train_questions.parquet" --also "$collected/word_problems_questions.parquet")
# Programs are checked by the checker at hand; files keep verdicts that it gave before.
for data in mbpp_train mbpp_test humaneval; do tandem collect "$data" --checks-only --out "$collected/$data.parquet"; done
tandem train "${files[@]}" "${also[@]}" --study "$study"
tandem calibrate "${files[@]}" --study "$study" --below 0 --llm-finishes --write
judged=(gsm8k math_test mbpp_test humaneval extraction)
for data in "${judged[@]}"; do
  tandem eval --data "$data" --no-ask --collected "$collected/$data.parquet" --study "$study" --json "$study/evaluation/$data.json"
done
python -m lab.training.savings report "$study/evaluation" gsm8k math_test humaneval
