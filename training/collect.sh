#!/usr/bin/env bash
# Ask both models everything that `make report` needs. Broken off, it goes on where it was; each file says what made it.
set -euo pipefail
pair=$1
here=$(cd "$(dirname "$0")" && pwd)
collect() { OMP_WAIT_POLICY=passive tandem collect "$@" --profile "$pair" --fuse --width 72; }
out=$here/collected/$pair
# For training: MATH's train split and made-up word problems. Questions of GSM8K, MATH's test split and HumanEval are for judging alone.
collect math_train --subject prealgebra --subject algebra --no-extras --n 160 --out "$out/math_train.parquet"
collect "$here/data/word_problems.jsonl" --no-extras --n 100 --out "$out/word_problems.parquet"
collect gsm8k --n 300 --out "$out/gsm8k.parquet"
collect humaneval --out "$out/humaneval.parquet"
collect math_test --n 120 --out "$out/math_test.parquet"
