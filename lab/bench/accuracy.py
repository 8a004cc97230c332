"""What a quantization or an engine costs in accuracy: the same GSM8K questions, greedy, on several engines.

`python -m lab.bench.accuracy --model llm`. The first engine is the baseline. llama.cpp runs the 4-bit file as it is, or what its own
quantizer makes of it (`make peers`); transformers runs what was converted from it (`make compiled`). `bench.engine` measures speeds.

`collected` asks nothing: it is what `tandem collect` kept of both models, made in int8 on an Intel Xeon with AVX-512 VNNI.

Each answer is a line of `lab/bench/results/accuracy/MODEL-ENGINE.jsonl` as soon as it ends: the same command again goes on from there.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from lab.bench.common import (
    RESULTS,
    Figures,
    collected_runs,
    commit_of,
    default_profile,
    local_engine,
    must_be_compiled,
    report,
)
from lab.bench.peers import requantized
from lab.training.datasets import Item, load
from lab.training.grading import grade
from lab.training.metrics import accuracy, difference_of_means, mcnemar
from services.engine.api import Engine, GenerationRequest
from services.engine.batch import generate_batch
from services.engine.file_tokenizer import FileTokenizer
from tandem.method.profile import Model, Profile
from tandem.method.prompts import llm_alone_prompt
from tandem.paths import REPOSITORY, models_folder

_BATCH = 20
_COMPILED, _Q8 = "int8-compiled", "llamacpp-q8_0"
_ENGINES: dict[str, dict[str, Any]] = {
    "float32": {"spec": "transformers", "quantization": "none", "dtype": "float32"},
    "bfloat16": {"spec": "transformers", "quantization": "none"},
    "int8": {"spec": "transformers", "quantization": "int8", "compiled": False},
    _COMPILED: {"spec": "transformers", "quantization": "int8"},
    "llamacpp": {"spec": "llamacpp"},
    _Q8: {"spec": "llamacpp"},
}
_COLLECTED = "collected"
_FOLDER = RESULTS / "accuracy"


@dataclass(frozen=True, slots=True)
class Answer:
    """One question's. `prompt` is the SHA-256 of the prompt's token ids, `revision` the commit that asked it."""

    question: str
    prompt: str
    right: bool
    answer: str
    text: str
    revision: str


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--questions", type=int, default=100)
    arguments.add_argument("--after", type=int, default=0, help="leave out this many of the questions' random order")
    arguments.add_argument("--model", choices=["llm", "slm"], default="slm", help="of the default pair")
    arguments.add_argument(
        "--engines",
        nargs="+",
        choices=[_COLLECTED, *_ENGINES],
        default=[_COLLECTED, "bfloat16", "int8", "llamacpp", _Q8],
    )
    arguments.add_argument(
        "--cut",
        type=int,
        nargs="+",
        default=[],
        metavar="TOKENS",
        help="grade the same answers after so many tokens too",
    )
    options = arguments.parse_args()
    profile = default_profile()
    items = load("gsm8k").sample(options.after + options.questions, 0).items[options.after :]
    model = getattr(profile, options.model)
    answers = {
        name: _collected(profile, options.model, items) if name == _COLLECTED else _answers(profile, model, name, items)
        for name in options.engines
    }
    name = f"accuracy-{options.model}" + (f"-after-{options.after}" if options.after else "")
    figures = {"model": model.name, "n": len(items), **_figures(answers)}
    if options.cut:
        name += "-cut"
        figures["accuracy_after_tokens"] = _figures_of_cut(answers, items, model, options.cut)
    report(name, figures)


def _collected(profile: Profile, role: str, items: Sequence[Item]) -> list[Answer]:
    """One per item, in their order. Raises KeyError for an item that was not collected."""
    runs = collected_runs(profile, "gsm8k")
    texts = {run.question: run.text for run in runs if (run.name, run.stage) == (role, 0)}
    gradings = [(item, grade(item, texts[item.id], "")) for item in items]
    return [Answer(item.id, "", each.is_right, each.answer, texts[item.id], "") for item, each in gradings]


def _answers(profile: Profile, model: Model, name: str, items: Sequence[Item]) -> list[Answer]:
    """One per item, in their order: those of the file, and the others from the engine."""
    file = _FOLDER / f"{model.name}-{name}.jsonl"
    with local_engine(model, max_batch=_BATCH, **_settings(model, name)) as engine:
        if name == _COMPILED:
            must_be_compiled(engine)
        max_tokens = profile.execution.max_tokens
        prompts = {item.id: llm_alone_prompt(profile, engine.tokenizer, item.question, item.task).ids for item in items}
        requests = {item: GenerationRequest(item, ids, max_tokens) for item, ids in prompts.items()}
        asyncio.run(_ask(engine, requests, {item.id: item for item in items}, file))
    kept = _kept(file)
    return [kept[item.id] for item in items]


def _settings(model: Model, name: str) -> dict[str, Any]:
    path = {"path": requantized(models_folder() / model.name, "Q8_0")} if name == _Q8 else {}
    return _ENGINES[name] | path


async def _ask(
    engine: Engine, requests: Mapping[str, GenerationRequest], items: Mapping[str, Item], file: Path
) -> None:
    """Append the answers that `file` lacks, each as it ends. One to another prompt than today's is asked again."""
    file.parent.mkdir(exist_ok=True)
    kept, revision = _kept(file), commit_of(REPOSITORY)
    missing = [
        request for id_, request in requests.items() if id_ not in kept or kept[id_].prompt != _hash(request.prompt_ids)
    ]
    with Progress() as progress, file.open("a") as appended:
        task = progress.add_task(file.stem, total=len(requests), completed=len(requests) - len(missing))
        async for done in generate_batch(engine, missing, _BATCH):
            grading = grade(items[done.request_id], done.text, "")
            prompt = _hash(requests[done.request_id].prompt_ids)
            answer = Answer(done.request_id, prompt, grading.is_right, grading.answer, done.text, revision)
            appended.write(json.dumps(asdict(answer)) + "\n")
            appended.flush()
            progress.advance(task)


def _kept(file: Path) -> dict[str, Answer]:
    """The file's last answer to each question."""
    lines = file.read_text().splitlines() if file.is_file() else []
    return {answer.question: answer for answer in (Answer(**json.loads(line)) for line in lines)}


def _hash(ids: Sequence[int]) -> str:
    return hashlib.sha256(" ".join(map(str, ids)).encode()).hexdigest()


def _figures(answers: Mapping[str, Sequence[Answer]]) -> Figures:
    [(baseline, its), *others] = answers.items()
    return {
        "accuracy": {name: vars(accuracy(_right(each))) for name, each in answers.items()},
        f"against_{baseline}": {
            name: {
                "mcnemar_p": mcnemar(_right(each), _right(its)),
                "same_answer": float(np.mean([a.answer == b.answer for a, b in zip(each, its, strict=True)])),
                "same_text": float(np.mean([a.text == b.text for a, b in zip(each, its, strict=True)])),
                "accuracy_less_its": vars(difference_of_means(_right(each), _right(its))),
            }
            for name, each in others
        },
    }


def _figures_of_cut(
    answers: Mapping[str, Sequence[Answer]], items: Sequence[Item], model: Model, limits: Sequence[int]
) -> Figures:
    """Accuracy by the number of tokens that a model may write, then by engine."""
    tokenizer = FileTokenizer.load(models_folder() / model.name)

    def is_right(item: Item, answer: Answer, limit: int) -> bool:
        return grade(item, tokenizer.decode(tokenizer.encode(answer.text)[:limit]), "").is_right

    return {
        str(limit): {
            name: vars(accuracy(np.array([is_right(*pair, limit) for pair in zip(items, each, strict=True)])))
            for name, each in answers.items()
        }
        for limit in limits
    }


def _right(answers: Sequence[Answer]) -> np.ndarray:
    """Shape `[questions]`, bool."""
    return np.array([each.right for each in answers])


if __name__ == "__main__":
    main()
