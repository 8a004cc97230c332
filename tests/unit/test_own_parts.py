"""examples/own: a profile, a check and a scorer of one's own, found without a change of Tandem's files."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from services.shared.checks.registry import _installed, applies, find_check, known_names, validate
from services.sufficiency_scorer.scorer_inputs import WIDTH, ScorerInputs, bag_of_words
from services.sufficiency_scorer.scorers import make_scorer
from tandem.local.models import catalogue
from tandem.method.errors import InvalidArgument
from tandem.method.evidence.checks import CheckSpec, Verdict
from tandem.method.profile.profile import load_profile

EXAMPLES = Path(__file__).parents[2] / "examples"
OWN, CHECKS = EXAMPLES / "own", EXAMPLES / "checks"


def install(package: Path, folder: Path) -> None:
    """As an installer lays the package out: its modules, and its entry points."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    information = folder / f"{project['name'].replace('-', '_')}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 1.0\n")
    lines = [
        line
        for group, entries in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {target}" for name, target in entries.items()))
    ]
    (information / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for module in package.glob("*.py"):
        (folder / module.name).write_text(module.read_text())


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    install(OWN, tmp_path)
    install(CHECKS, tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    _installed.cache_clear()
    yield
    _installed.cache_clear()


def inputs(entropy: float) -> ScorerInputs:
    features = np.full(WIDTH, entropy, np.float32)
    return ScorerInputs(1, 40, features, np.zeros(0, np.float32), bag_of_words("How many?"))


@pytest.mark.usefixtures("installed")
def test_an_installed_package_adds_a_scorer_with_an_argument() -> None:
    scorer = make_scorer("margin:2")
    assert (scorer.name, scorer.trained, scorer.needs_pass) == ("margin", False, True)
    assert scorer.score(inputs(0.0)) == 1.0
    assert scorer.score(inputs(0.5)) == pytest.approx(np.exp(-1))


def test_a_scorer_that_is_not_installed_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown scorer 'margin'; known: .*untrained"):
        make_scorer("margin")


@pytest.mark.usefixtures("installed")
def test_the_profile_of_the_example_has_all_its_parts() -> None:
    profile = load_profile("own", (OWN / "profiles",))
    assert make_scorer(profile.stop.scorer, profile.folder).name == "margin"
    assert {profile.llm.name, profile.slm.name} <= set(catalogue())
    [name] = profile.checks.answer
    compare = find_check(CheckSpec.parse(name)).compare
    assert compare is not None
    assert compare("", "4", "").verdict is Verdict.PASS


@pytest.mark.usefixtures("installed")
def test_the_two_checks_of_the_example_are_found_by_name_and_refuse_a_wrong_argument() -> None:
    assert {"sql", "quotes"} <= set(known_names())
    assert applies(CheckSpec("sql", '{"setup": "", "other": "SELECT 1"}'), "Which towns?", "code")
    for spec in (CheckSpec("sql", "{}"), CheckSpec("quotes", "{}")):
        with pytest.raises(InvalidArgument, match=spec.name):
            validate(spec)


def test_a_package_cannot_replace_a_built_in_scorer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        name = "untrained"

        def load(self) -> object:
            raise AssertionError("a built-in scorer was replaced")

    monkeypatch.setattr("services.sufficiency_scorer.scorers.entry_points", lambda group: [Entry()])
    assert make_scorer("untrained").name == "untrained"


def test_a_score_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        name = "broken"

        def load(self) -> object:
            return lambda argument: object()

    monkeypatch.setattr("services.sufficiency_scorer.scorers.entry_points", lambda group: [Entry()])
    with pytest.raises(ValueError, match=r"'broken' of tandem\.scorers makes no scorer"):
        make_scorer("broken")
