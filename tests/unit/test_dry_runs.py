"""A promise from dry runs: rows of a gateway, which hold no text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("pyarrow")

from lab.disputes.dry_runs import read_dry_runs
from lab.verbs import from_dry_run
from tandem.cli import app
from tandem.method.profile.profile import Profile, load_profile
from tandem.method.request.tasks import policy_digest
from tandem.v1 import tandem_pb2

REASONS = {
    "same": tandem_pb2.STOP_REASON_VERIFIED,
    "disputed": tandem_pb2.STOP_REASON_UNVERIFIED_BEST,
    "differ": tandem_pb2.STOP_REASON_LLM_FINISHED,
    "open": tandem_pb2.STOP_REASON_UNSPECIFIED,
}


@pytest.fixture
def dry(tmp_path: Path, profiles_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    """A profile whose large model answers all, and that names no kind yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TANDEM_PROFILES_PATH", str(tmp_path / "own"))
    shutil.copytree(profiles_folder / "scripted-together", tmp_path / "own" / "scripted-together")
    file = tmp_path / "own" / "scripted-together" / "profile.toml"
    file.write_text(file.read_text().replace('kinds = ["tools", "answer", "json", "option"]', "kinds = []"))
    return load_profile("scripted-together", (tmp_path / "own",))


def row(dry: Profile, number: int, came: str, kind: str = "tools", **more: Any) -> tandem_pb2.RequestSummary:
    """Small models that cost a fifth of the large one, which costs 10."""
    usd = 2.0 if came in ("same", "disputed") else 12.0
    about = {"no_call": more.pop("no_call", False), "policy_digest": more.pop("policy", policy_of(dry))}
    summary = tandem_pb2.DryRunSummary(kind=kind, question_digest=f"{kind}{number}", **about)
    said = {"usd": usd, "saved_ratio": 1 - usd / 10, "profile": dry.name, "dry_run": summary} | more
    return tandem_pb2.RequestSummary(request_id=f"r{number}", reason=REASONS[came], **said)


def policy_of(profile: Profile) -> str:
    return policy_digest(profile.digest, ["slm", "second_slm"], 2, (True, False))


@pytest.fixture
def listed(dry: Profile, monkeypatch: pytest.MonkeyPatch) -> list[tandem_pb2.RequestSummary]:
    """What the gateway lists: 200 calls, of which 100 are the same and 3 of these disputed; on 20 nobody calls."""
    rows = [row(dry, n, "disputed" if n < 3 else "same") for n in range(100)]
    rows += [row(dry, n, "same", no_call=True) for n in range(100, 120)]
    rows += [row(dry, n, "differ") for n in range(120, 200)]

    def of_gateway(client: object, since: object, dry_runs: bool) -> Iterator[tandem_pb2.RequestSummary]:
        assert dry_runs
        yield from rows

    monkeypatch.setattr(from_dry_run, "listed", of_gateway)
    return rows


def calibrated(promise: float, *words: str, code: int = 0) -> str:
    asked = ("calibrate", "--from-dry-run", "--profile", "scripted-together", "--lose-at-most", str(promise), *words)
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == code, result.output
    return result.output


def test_dry_runs_show_a_promise_without_texts_and_say_how_many_disputes_want_a_label(
    listed: list[tandem_pb2.RequestSummary],
) -> None:
    [shown] = json.loads(calibrated(0.05, "--json"))["promises"]
    call, either = shown["tested"]
    assert call["counted"] == {"n": 200, "taken": 100, "disputes": 3, "labelled": 0, "lost": 0}
    assert either["counted"]["taken"] == 120
    assert call["cost"] == pytest.approx((200 * 2 + 100 * 10) / (200 * 10))
    told = calibrated(0.03, code=1)
    assert "2 more disputes must be found not to be lost" in " ".join(told.split())
    assert "tandem collect" in told


def test_a_promise_of_dry_runs_is_written_with_the_rule_that_they_were_asked_by(
    listed: list[tandem_pb2.RequestSummary], dry: Profile
) -> None:
    assert "takes so now: tools" in " ".join(calibrated(0.05, "--write").split())
    served = load_profile(dry.name, (dry.folder.parent,))
    assert (served.agreement.kinds, served.agreement.rule, served.agreement.no_call) == (("tools",), "both", True)
    [made] = served.promises
    assert (made.n, made.lost, made.data[0].dataset, served.keeps(made)) == (200, 3, "dry-run", True)


def test_too_few_dry_runs_are_no_look(listed: list[tandem_pb2.RequestSummary], dry: Profile) -> None:
    del listed[50:]
    told = " ".join(calibrated(0.03, code=1).split())
    assert "50 different requests; with less than 108 nothing is tested" in told
    assert not list(Path().glob("studies/**/looks.jsonl"))


def test_rows_that_tell_nothing_of_the_profiles_own_models_are_left_out_by_their_reasons(dry: Profile) -> None:
    older = row(dry, 5, "same")
    older.ClearField("dry_run")
    rows = [
        row(dry, 1, "same"),
        row(dry, 1, "differ"),  # began before the first: newest first
        older,
        row(dry, 6, "open"),
        row(dry, 7, "same", policy="another"),
        row(dry, 8, "same", profile="another"),
        row(dry, 9, "same", "option"),
    ]
    found = read_dry_runs(rows, dry)
    assert [(each.form, each.taken) for each in found.seen] == [("option", True), ("calls", False)]
    assert sum(found.left_out.values()) == 4
    assert {reason.split()[0] for reason in found.left_out} == {"asked", "kept", "without", "of"}
    agreement = dry.agreement.model_copy(update={"kinds": ("option",)})
    taken = read_dry_runs(rows, dry.model_copy(update={"agreement": agreement}))
    assert "option: agreement takes it already" in taken.left_out
    scored = dry.model_copy(update={"stop": dry.stop.model_copy(update={"stage_zero_threshold": 0.5})})
    assert any("no sample of all" in reason for reason in read_dry_runs(rows, scored).left_out)
