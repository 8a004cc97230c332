#!/usr/bin/env bash
# Ask both models everything that `make report` needs. Broken off, it goes on where it was; each file says what made it.
# Two collections at once, each with a thread for either model, use two cores better than one with two threads.
set -euo pipefail
pair=$1
here=$(cd "$(dirname "$0")" && pwd)
export OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1
collect() { tandem collect "$@" --profile "$pair" --width 48 --threads 1; }
out=$here/collected/$pair
words=$here/data/word_problems.jsonl
# For training: MATH's train split and made-up word problems. Questions of GSM8K, MATH's test split and HumanEval are for judging alone.
training() {
  collect math_train --subject prealgebra --subject algebra --no-extras --n 160 --out "$out/math_train.parquet"
  collect "$words" --no-extras --n 100 --out "$out/word_problems.parquet"
  collect math_train --subject prealgebra --subject algebra --only-question --seed 1 --n 180 --out "$out/math_train_questions.parquet"
  collect "$words" --only-question --seed 1 --n 60 --out "$out/word_problems_questions.parquet"
}
judging() {
  collect gsm8k --n 300 --out "$out/gsm8k.parquet"
  collect humaneval --out "$out/humaneval.parquet"
  collect math_test --n 60 --out "$out/math_test.parquet"
}
training & judging
wait
