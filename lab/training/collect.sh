#!/usr/bin/env bash
# Collect everything that `make report` needs from both models, on transformers, whose answers the study was trained on. An interrupted collection resumes from its file.
# Two collections at once, each with one thread per model, are faster on two cores than one collection with two threads.
set -euo pipefail
pair=$1
cd "$(dirname "$0")/../.."  # relative paths: each command is recorded in what it writes
export OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1
collect() { tandem collect "$@" --profile "$pair" --engine transformers --threads 1; }
out=lab/training/collected/$pair
words=lab/training/data/word_problems.jsonl
# Training: the train splits of MATH and MBPP, and synthetic word problems. GSM8K, HumanEval and the test splits are for
# evaluation only.
training() {
  collect math_train --subject prealgebra --subject algebra --no-extras --n 160 --out "$out/math_train.parquet"
  collect "$words" --no-extras --n 100 --out "$out/word_problems.parquet"
  collect mbpp_train --no-extras --out "$out/mbpp_train.parquet"
  collect math_train --subject prealgebra --subject algebra --only-question --seed 1 --n 180 --out "$out/math_train_questions.parquet"
  collect "$words" --only-question --seed 1 --n 60 --out "$out/word_problems_questions.parquet"
}
evaluation() {
  collect gsm8k --n 300 --out "$out/gsm8k.parquet"
  collect mbpp_test --no-extras --out "$out/mbpp_test.parquet"
  collect humaneval --out "$out/humaneval.parquet"
  collect math_test --n 60 --out "$out/math_test.parquet"
  collect extraction --no-extras --out "$out/extraction.parquet"
}
training & evaluation
wait
