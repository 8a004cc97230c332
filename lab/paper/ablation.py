"""The ablation of the insight's four parts: profiles of the shipped pair that hand over by a brief, with one part left out.

`python -m lab.paper.ablation FOLDER` writes the profiles and prints the commands that collect answers by them (hours on two cores).
What was collected becomes a table of docs/paper.md. The brief is that of the profile with the paper's sizes; continuation, to
compare with, is what the shipped profile has collected.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab.paper.answers import FILES, profile
from lab.training.collect import Run
from lab.training.store import read
from tandem.method.cost import tflops_paper
from tandem.paths import REPOSITORY

PARTS = "Goal", "Planning", "Retrieval", "Action"
VARIANTS = {"all-parts": (), **{f"without-{part.lower()}": (part,) for part in PARTS}, "unstructured": PARTS}
"""The parts that are left out, by the variant's name."""
DATA = {"gsm8k": 200, "math_test": 200}
_BRIEF = "deepseek-r1-32b-7b"
_CAP = 208  # tokens: the shipped profile's last stage


def brief(left_out: Sequence[str]) -> str:
    """The prompt for the large model."""
    lines = profile(_BRIEF).prompts.brief.splitlines()
    kept = "\n".join(line for line in lines if not line.startswith(tuple(f"{part}:" for part in left_out)))
    if len(left_out) == len(PARTS):
        return kept.replace(", in four labelled parts:", ".")
    return kept.replace("four", ("four", "three")[len(left_out)])


def profile_text(name: str) -> str:
    """TOML of the shipped models, with one stage, no checks and no scorer."""
    prompts, text = profile().prompts, (profile().folder / "profile.toml").read_text()
    models, prices = _between(text, "[llm]", "# Cumulative"), _between(text, "[prices]", "[llm_alone]")
    written = {
        "question": prompts.question,
        "brief": brief(VARIANTS[name]),
        "brief_answer": profile(_BRIEF).prompts.brief_answer,
    }
    return "\n".join(
        [
            f'name = "ablation-{name}"\ndescription = "the insight without {", ".join(VARIANTS[name]) or "nothing"}"\nhandoff = "brief"\nmax_question_tokens = 1024\n\n{models}',
            f'[[stages]]\nname = "whole"\nmax_tokens = {_CAP}\nthreshold = 0.5\n\n[prompts]',
            *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in written.items()),
            '\n[stop]\nscorer = "untrained"\nstage_zero = false\n',
            f'[execution]\nmax_tokens = {profile().execution.max_tokens}\nanswer_format = "boxed"\n\n{prices}\n[llm_alone]\noutput_tokens = {profile().llm_alone.output_tokens}\n',
        ]
    )


def file_of(data: str, name: str) -> Path:
    return FILES / "ablation" / f"{data}-{name}.parquet"


def rows() -> Iterator[str]:
    """Cells of what was collected."""
    for data in DATA:
        for name in VARIANTS:
            if file_of(data, name).is_file():
                _, runs = read(file_of(data, name))
                yield f"{data} | {name} | {_cells([run for run in runs if (run.name, run.stage) == ('slm', 1)])}"


def _cells(runs: Sequence[Run]) -> str:
    n, plan = len(runs), profile()
    right, insight, own = (
        sum(values) / n for values in zip(*((r.right, r.insight_tokens, r.output_tokens) for r in runs), strict=True)
    )
    cost = tflops_paper(plan.llm.parameters, insight, plan.slm.parameters, own)
    return f"{n} | {right:.1%} | {insight:.0f} | {own:.0f} | {cost:.2f}"


def _between(text: str, begin: str, end: str) -> str:
    return text[text.index(begin) : text.index(end)]


def main() -> None:
    folder = Path(sys.argv[1])
    for name in VARIANTS:
        (folder / f"ablation-{name}").mkdir(parents=True, exist_ok=True)
        (folder / f"ablation-{name}" / "profile.toml").write_text(profile_text(name))
    print(f"export TANDEM_PROFILES_PATH={folder}:deploy/profiles OMP_NUM_THREADS=1")
    for data, n in DATA.items():
        for name in VARIANTS:
            out = file_of(data, name).relative_to(REPOSITORY)
            print(
                f"tandem collect {data} --profile ablation-{name} --engine transformers --threads 1 --no-extras --n {n} --out {out}"
            )


if __name__ == "__main__":
    main()
