"""`tandem calibrate --lose-at-most`: the strictness that is shown, what is written down, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")
pytest.importorskip("math_verify")

from lab.training.collect import Run
from lab.training.collected import load_collected
from lab.training.names import TRAINING
from lab.training.promise import Promise
from lab.training.promise_files import ship_promise
from lab.training.promised import Shown, show_promise
from lab.training.study import Training
from tandem.cli import app
from tandem.method.profile.profile import Profile, load_profile
from tandem.method.profile.profile_sections import Checks, StopPolicy, TrialSection
from tandem.method.rule.strictness import STRENGTHS, stricter
from tandem.paths import DEFAULT_PROFILE, REPOSITORY
from tests.unit.synthetic import ignore, programs_run_once, quick_arithmetic, store, synthetic_runs  # noqa: F401

pytestmark = pytest.mark.usefixtures("quick_arithmetic", "programs_run_once")
WEAK = "def f(x):\n    # f(1) == 2\n    ...\n"  # its only example counts 1
STRONG = "def f(x):\n    # f(1) == 'b'\n    # f(2) == 'c'\n    ...\n"  # each counts 2
WEAK_ANSWER = "```python\ndef f(x):\n    return 2\n```"
STRONG_ANSWER = "```python\ndef f(x):\n    return chr(ord('a') + x)\n```"


@pytest.fixture
def profile(profiles_folder: Path, tmp_path: Path) -> Profile:
    shutil.copytree(profiles_folder / "scripted", tmp_path / "profiles" / "scripted")
    return load_profile("scripted", (tmp_path / "profiles",))


def tried(profile: Profile) -> Profile:
    """Programs are tried by their examples, and not scored."""
    changed = {
        "stop": StopPolicy(scorer="untrained", otherwise="llm_finishes", tasks=("answer",)),
        "checks": Checks(code=("python_examples:weight=2",)),
        "trial": TrialSection(stages=(0,), tasks=("code",), max_tokens=256),
    }
    return profile.model_copy(update=changed)


def serve_programs(profile: Profile) -> None:
    """As `tried`, in the profile's file."""
    file = profile.folder / "profile.toml"
    served = file.read_text().replace(
        'scorer = "untrained"', 'scorer = "untrained"\ntasks = ["answer"]\notherwise = "llm_finishes"'
    )
    file.write_text(
        served + '\n[checks]\ncode = ["python_examples"]\n\n[trial]\nstages = [0]\ntasks = ["code"]\nmax_tokens = 256\n'
    )


def programs(n: int, prompt: str, answer: str, wrong: int) -> list[Run]:
    """`n` tasks, whose examples the small model's program satisfies; `wrong` of them are wrong where the large one is
    right.
    """
    runs = []
    for run in synthetic_runs(n, len(answer)):
        number = int(run.question.partition("-")[2])
        if run.name in ("llm", "slm"):
            right = run.name == "llm" or number >= wrong
            asked = f"# {number}\n{prompt}" if run.name == "llm" else ""
            runs.append(replace(run, text=answer, asked=asked, verdict="unknown", right=right, question_tokens=20))
    return runs


def shown(profile: Profile, tmp_path: Path, runs: list[Run], promise: Promise) -> Shown:
    collected = load_collected([store(profile, tmp_path / "new.parquet", runs, "new")], profile)
    [found] = show_promise(collected, profile, promise, "full", ignore)
    return found


def test_a_pass_must_count_as_much_as_the_promise_needs(profile: Profile, tmp_path: Path) -> None:
    """Passes of one weak example are often wrong; those of strong ones never are. A looser promise takes both."""
    profile = tried(profile)
    runs = [*programs(40, STRONG, STRONG_ANSWER, wrong=0), *programs(30, WEAK, WEAK_ANSWER, wrong=4)]
    strict = shown(profile, tmp_path, runs, Promise(0.05))
    assert [each.is_accepted for each in strict.tested] == [True] * 7 + [False]
    assert (strict.n, strict.tested[-1].lost, strict.tested[-1].bound) == (70, 4, pytest.approx(0.126, abs=1e-3))
    assert strict.chosen is not None
    assert "weight=4" in strict.chosen.evidence  # the cheapest of 4, 3 and 2, which accept the same: the first
    assert strict.chosen.cost.mean < 1
    loose = shown(profile, tmp_path, runs, Promise(0.15))
    assert loose.chosen is not None
    assert "weight=1" in loose.chosen.evidence
    assert (loose.chosen.lost, loose.n) == (4, 70)


def test_where_there_are_too_few_questions_no_policy_is_accepted_and_the_number_is_said(
    profile: Profile, tmp_path: Path
) -> None:
    found = shown(tried(profile), tmp_path, programs(40, STRONG, STRONG_ANSWER, wrong=0), Promise(0.05))
    assert (found.chosen, found.made, len(found.tested), found.needed) == (None, None, 1, 59)


def test_questions_that_repeat_are_one(profile: Profile, tmp_path: Path) -> None:
    runs = programs(70, STRONG, STRONG_ANSWER, wrong=0)
    assert shown(tried(profile), tmp_path, runs, Promise(0.05)).n == 70
    again = [replace(run, asked=STRONG if run.asked else "") for run in runs]
    found = shown(tried(profile), tmp_path, again, Promise(0.05))
    assert (found.n, found.chosen) == (1, None)


def test_a_promise_stands_in_the_profile_with_its_data_until_the_profile_changes(
    profile: Profile, tmp_path: Path
) -> None:
    served = tried(profile)
    file = profile.folder / "profile.toml"
    file.write_text(
        file.read_text() + '\n[checks]\ncode = ["python_examples"]\n\n[trial]\nstages = [0]\ntasks = ["code"]\n'
    )
    runs = programs(70, STRONG, STRONG_ANSWER, wrong=0)
    found = shown(served, tmp_path, runs, Promise(0.05, 0.9))
    for _ in range(2):  # the second time in place of the first
        ship_promise(load_profile("scripted", (profile.folder.parent,)), found)
    written = load_profile("scripted", (profile.folder.parent,))
    [made] = written.promises
    assert (made.task, made.lost, made.n, made.lose_at_most, made.confidence) == ("code", 0, 70, 0.05, 0.9)
    assert made.bound == pytest.approx(1 - 0.1 ** (1 / 70), abs=1e-6)
    assert [(data.dataset, data.questions, len(data.file_sha256)) for data in made.data] == [("new", 70, 64)]
    assert written.checks.code == ("python_examples:weight=4",)
    assert made.evidence == served.model_copy(update={"checks": written.checks}).evidence("code")
    assert not written.model_copy(update={"checks": Checks(code=("python_examples",))}).keeps(made)


def test_thresholds_become_stricter_and_never_more_lenient_than_the_profiles(profile: Profile) -> None:
    stop = StopPolicy(scorer="untrained", stage_zero_threshold=0.7, otherwise="llm_finishes", tasks=("answer",))
    scored = profile.model_copy(update={"stop": stop, "trial": TrialSection()})
    family = list(stricter(scored, "answer"))
    zeros = [each.stop.stage_zero_threshold for each in family]
    assert zeros[0] == 0.99
    assert zeros == sorted(zeros, reverse=True)
    own = [stage.threshold for stage in scored.stages]
    assert [stage.threshold for stage in family[-1].stages] == own
    assert family[-1].stop.stage_zero_threshold == 0.7
    assert list(stricter(scored, "code")) == []
    assert len(list(stricter(tried(profile), "code"))) == len(STRENGTHS)


def test_the_shipped_scorer_keeps_a_promise_on_questions_that_it_was_not_trained_on() -> None:
    """MATH's test questions: with 60 a policy may lose none to show 5 points, and any policy may stop above its
    threshold.
    """
    shipped = load_profile(DEFAULT_PROFILE, (REPOSITORY / "deploy" / "profiles",))
    file = REPOSITORY / "lab" / "training" / "collected" / DEFAULT_PROFILE / "math_test.parquet"
    [found] = show_promise(load_collected([file], shipped), shipped, Promise(0.05), "usd", ignore)
    assert (found.task, found.n) == ("answer", 60)
    assert found.tested[0].lost == 0
    assert [each.is_accepted for each in found.tested[:-1]] == [True] * (len(found.tested) - 1)
    assert all(each.is_accepted == (each.lost == 0) for each in found.tested)
    assert found.tested[-1].lost > 0
    assert "scores of words:scorer from 0.99" in found.tested[0].evidence


def test_by_commands_a_promise_is_refused_on_training_questions_and_kept_on_new_ones(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEM_PROFILES_PATH", str(profile.folder.parent))
    monkeypatch.chdir(tmp_path)
    serve_programs(profile)
    runs = programs(70, STRONG, STRONG_ANSWER, wrong=0)
    new = str(store(profile, tmp_path / "new.parquet", runs, "new"))
    study = tmp_path / "studies" / "scripted"
    study.mkdir(parents=True)
    trained = Training(
        profile="scripted", asked="auto", chosen="words", label="right", questions=[f"new/{runs[0].question}"],
        more_questions=[], folds=3, seed=0, sources=[], kinds={},
    )  # fmt: skip
    (study / TRAINING).write_text(trained.model_dump_json())

    def run(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, [*words, "--profile", "scripted"])
        assert result.exit_code == code, result.output
        return " ".join(result.output.split())

    assert "chose nothing" in run("calibrate", new, "--lose-at-most", "0.05", code=1)
    (study / TRAINING).unlink()
    run("calibrate", new, "--lose-at-most", "0.2", "--below", "0.1", code=2)
    assert "nothing was written" in run("calibrate", new, "--lose-at-most", "0.01", "--write", code=1)
    assert load_profile("scripted", (profile.folder.parent,)).promises == ()
    told = json.loads(run("calibrate", new, "--lose-at-most", "0.05", "--write", "--json"))
    [promise] = told["promises"]
    assert promise["n"] == 70
    assert promise["chosen"]["bound"] <= 0.05
    assert json.loads((profile.folder / "report" / "promise.json").read_text()) == told["promises"]
    served = load_profile("scripted", (profile.folder.parent,))
    assert [(made.task, made.n, served.keeps(made)) for made in served.promises] == [("code", 70, True)]
