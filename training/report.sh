#!/usr/bin/env bash
# Train, calibrate and judge a pair's stop rule from its collected files; the profile gets scorer, thresholds and report.
set -euo pipefail
pair=$1
here=$(cd "$(dirname "$0")" && pwd)
tandem() { command tandem "$@" --profile "$pair"; }
collected=$here/collected/$pair study=$here/studies/$pair report=$here/../deploy/profiles/$pair/report
files=("$collected/math_train.parquet" "$collected/word_problems.parquet")
also=(--also "$collected/math_train_questions.parquet" --also "$collected/word_problems_questions.parquet")
tandem train "${files[@]}" "${also[@]}" --study "$study"
tandem calibrate "${files[@]}" --study "$study" --below 0 --llm-finishes --write
for data in gsm8k math_test humaneval; do
  tandem eval --data "$data" --no-ask --collected "$collected/$data.parquet" --study "$study" --out "$report" --json "$report/$data.json"
done
