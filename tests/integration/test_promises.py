"""Outcomes of requests: each counts once, for the policy that served it, and too many losses make that stricter."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from services.gateway.temporal import Workflows
from services.shared.request_log.log import RequestLog
from services.shared.request_log.promises import Counting, PolicyOf, Report
from tandem import RequestError, to_dict
from tandem.method.profile.watched_promise import REVIEW, Watched
from tandem.v1 import tandem_pb2
from tests.command import tandem
from tests.integration.asking import ask, ended_timeline, shadow_of
from tests.integration.conftest import System, run_system
from tests.integration.edge import serving
from tests.integration.request_logs import open_log
from tests.promise_course import Courses
from tests.promising import promise

pytestmark = pytest.mark.asyncio(loop_scope="session")
NOW = datetime(2026, 11, 1, tzinfo=UTC)
PROMISE = Watched("answer", "scores", "made", lose_at_most=0.05, confidence=0.95, steps=3)
BY_SLM = r"[ms=5 scores=0:0.9 slm=\boxed{4}_ slm_eos=12 llm=\boxed{4}_ llm_eos=60] what?"
OTHERWISE = r"[ms=5 scores=0:0.9 slm=\boxed{4}_ slm_eos=12 llm=\boxed{5}_ llm_eos=60] what?"


@pytest_asyncio.fixture(loop_scope="session")
async def log(redis_url: str) -> AsyncIterator[RequestLog]:
    async with open_log(redis_url) as opened:
        yield opened


def policy_of_its_own() -> PolicyOf:
    return PolicyOf(uuid4().hex, "profile", "answer", "made")


def report(loss: float | None, what: str = "", who: str = "caller", request: str = "") -> Report:
    return Report(request or uuid4().hex, who, loss, what)


# -- counting ---------------------------------------------------------------------------------------------------------


async def test_the_script_counts_as_the_method_does(log: RequestLog) -> None:
    policy, course, generator = policy_of_its_own(), Courses(), random.Random(7)
    steps = []
    for _ in range(400):
        loss = generator.choice([0.0, 0.0, 0.0, 0.0, 1.0, 0.25])
        served = Watched(**{**vars(PROMISE), "step": int(course.step[0])})
        counting, counted = await log.promises.count(policy, served, report(loss), NOW)
        assert (counting is Counting.STRICTER) is bool(course.count(loss, served)[0])
        assert (counted.step, counted.outcomes) == (course.step[0], course.outcomes[0])
        assert counted.lost == pytest.approx(course.lost[0])
        steps.append(counted.step)
    assert steps[-1] == PROMISE.steps
    _, changes = await log.promises.standing(policy)
    assert [change.step for change in changes] == [1, 2, 3]


async def test_concurrent_reports_count_exactly(log: RequestLog) -> None:
    policy, requests = policy_of_its_own(), [uuid4().hex for _ in range(50)]
    told = [log.promises.count(policy, PROMISE, report(0.0, "1", request=name), NOW) for name in requests * 4]
    countings = [counting for counting, _ in await asyncio.gather(*told)]
    assert countings.count(Counting.COUNTED) == 50
    assert countings.count(Counting.SAME) == 150
    counted, _ = await log.promises.standing(policy)
    assert counted.outcomes == 50


async def test_a_shadow_and_a_caller_count_a_request_once_and_another_word_is_refused(log: RequestLog) -> None:
    policy, request = policy_of_its_own(), uuid4().hex
    assert (await log.promises.count(policy, PROMISE, report(1.0, who="shadow", request=request), NOW))[0] == "counted"
    assert (await log.promises.count(policy, PROMISE, report(0.0, "1", request=request), NOW))[0] == "noted"
    assert (await log.promises.count(policy, PROMISE, report(1.0, "0", request=request), NOW))[0] == "other"
    assert (await log.promises.count(policy, PROMISE, report(0.0, "1", request=request), NOW))[0] == "same"
    counted, _ = await log.promises.standing(policy)
    assert (counted.outcomes, counted.lost) == (1, 1.0)


async def test_an_outcome_of_an_older_step_is_no_evidence_but_is_owed(log: RequestLog) -> None:
    policy, stricter = policy_of_its_own(), Watched(**{**vars(PROMISE), "step": 1})
    while (await log.promises.count(policy, PROMISE, report(1.0), NOW))[0] is not Counting.STRICTER:
        pass
    for _ in range(20):
        counting, counted = await log.promises.count(policy, PROMISE, report(1.0), NOW)
        assert (counting, counted.step, counted.outcomes) == (Counting.OLD, 1, 0)
    # 2 of 50 are fewer than promised, and do not pay back what was lost before.
    told = [(await log.promises.count(policy, stricter, report(float(n < 2)), NOW))[0] for n in range(REVIEW)]
    assert told == [Counting.COUNTED] * (REVIEW - 1) + [Counting.STRICTER]


async def test_an_outcome_of_an_older_step_that_was_right_pays_back(log: RequestLog) -> None:
    policy, stricter = policy_of_its_own(), Watched(**{**vars(PROMISE), "step": 1})
    while (await log.promises.count(policy, PROMISE, report(1.0), NOW))[0] is not Counting.STRICTER:
        pass
    for _ in range(200):
        await log.promises.count(policy, PROMISE, report(0.0), NOW)
    told = [(await log.promises.count(policy, stricter, report(float(n < 2)), NOW))[0] for n in range(REVIEW)]
    assert told == [Counting.COUNTED] * REVIEW


async def test_outcomes_are_kept_for_a_calibration_with_consent_alone_and_for_so_many_days(log: RequestLog) -> None:
    policy, now = policy_of_its_own(), datetime.now(UTC)
    await log.promises.count(policy, PROMISE, report(1.0), now)
    assert await log.promises.kept(policy, now - timedelta(days=99)) == []
    consents = Watched(**{**vars(PROMISE), "keep_days": 30, "strength": 4})
    await log.promises.count(policy, consents, report(0.5), now)
    [kept] = await log.promises.kept(policy, now - timedelta(days=30))
    assert (kept.loss, kept.who, kept.strength) == (0.5, "caller", 4)
    await log.promises.count(policy, consents, report(0.5), now)  # alike, and at the same moment
    assert len(await log.promises.kept(policy, now - timedelta(days=30))) == 2
    await log.promises.count(policy, consents, report(0.0), now + timedelta(days=31))
    assert 0.5 not in [each.loss for each in await log.promises.kept(policy, now - timedelta(days=99))]


# -- requests ---------------------------------------------------------------------------------------------------------


async def test_a_caller_says_once_what_became_of_its_request(system: System) -> None:
    request_id = uuid4().hex
    await ask(system, BY_SLM, request_id=request_id)
    first = to_dict(await system.client.report(request_id, True))
    assert first["counting"] == "counted"
    assert first["policy"]["promised"] is None
    assert (await system.client.report(request_id, True)).counting == "same"
    with pytest.raises(RequestError, match="another outcome") as refused:
        await system.client.report(request_id, False)
    assert refused.value.reason == "OUTCOME_REPORTED"
    found = to_dict(await system.client.promises())["policies"]
    assert [each["task"] for each in found if each["profile"] == "scripted"] == ["answer"]


async def test_what_is_no_outcome_is_refused(system: System) -> None:
    with pytest.raises(RequestError) as unknown:
        await system.client.report(uuid4().hex, True)
    assert unknown.value.reason == "UNKNOWN_REQUEST"
    request_id = uuid4().hex
    await ask(system, BY_SLM, request_id=request_id)
    for outcome in (1.5, float("nan")):
        with pytest.raises(RequestError) as refused:
            await system.client.report(request_id, outcome)
        assert refused.value.field == "score"
    with pytest.raises(RequestError) as empty:
        await system.client._call(
            system.client._stub.ReportOutcome, tandem_pb2.ReportOutcomeRequest(request_id=request_id)
        )
    assert empty.value.field == "outcome"


async def test_what_the_large_model_has_answered_loses_nothing(system: System) -> None:
    small, request_id = uuid4().hex, uuid4().hex
    await ask(system, BY_SLM, request_id=small)
    lost = (await system.client.report(small, False)).policy.lost
    assert lost >= 1
    await ask(system, r"[scores=0:0.1,16:0.1 llm=\boxed{4}_ llm_eos=5] by itself", request_id=request_id)
    assert (await system.client.get(request_id)).result.answered_by == tandem_pb2.ROLE_LLM
    told = await system.client.report(request_id, False)
    assert (told.counting, told.policy.lost) == ("counted", lost)


async def test_a_request_with_a_policy_of_its_callers_counts_for_none(system: System) -> None:
    request_id = uuid4().hex
    await ask(system, BY_SLM, request_id=request_id, threshold=0.5)
    reply = await system.client.report(request_id, False)
    assert (reply.counting, reply.HasField("policy")) == ("noted", False)


async def test_http_takes_outcomes_too(system: System) -> None:
    request_id = uuid4().hex
    await ask(system, BY_SLM, request_id=request_id)
    async with serving(system.client.address) as http:
        told = await http.post("/v1/tandem/outcomes", json={"request_id": request_id, "score": 0.5})
        assert (told.status_code, told.json()["counting"]) == (200, "counted")
        assert (await http.post("/v1/tandem/outcomes", json={"request_id": request_id})).status_code == 400
        standings = (await http.get("/v1/tandem/promises")).json()["policies"]
    assert standings[0]["lost"] >= 0.5


# -- a promise --------------------------------------------------------------------------------------------------------


def write_promised(folder: Path, source: Path, name: str, more: str = "", stages: str = "0.8") -> None:
    text = (source / "scripted-shadow" / "profile.toml").read_text().replace("scripted-shadow", name)
    text = text.replace("share = 1.0", more or "share = 0.0").replace("\nthreshold = 0.8", f"\nthreshold = {stages}")
    (folder / name).mkdir()
    (folder / name / "profile.toml").write_text(text)
    promise(folder / name)


async def test_answers_that_shadows_contradict_make_the_policy_stricter_and_a_restart_keeps_it(
    redis_url: str, temporal_address: str, profiles_folder: Path, tmp_path: Path
) -> None:
    write_promised(tmp_path, profiles_folder, "promised", "share = 1.0")
    async with run_system("promised", tmp_path, redis_url, temporal_address) as system:
        steps, answered = [], []
        while len(steps) < 40:
            request_id = uuid4().hex
            result = await ask(system, OTHERWISE, request_id=request_id)
            answered.append(result["answered_by"])
            steps.append(result["policy_step"])
            await shadow_of(system, request_id)
            if answered[-1] == "llm":
                break
        assert answered[-1] == "llm"
        assert steps == sorted(steps)
        reply = await system.client.report(request_id, False)  # whose own answer the large model has given
        assert (reply.counting, reply.policy.lost) == ("noted", 0)
        [standing] = to_dict(await system.client.promises())["policies"]
        assert standing["step"] == reply.policy.step == len(standing["changes"])
        assert standing["evidence"] == reply.policy.evidence != "scores of untrained from 0.8, 0.8, 0.8, 0.8"
    async with run_system("promised", tmp_path, redis_url, temporal_address) as again:
        assert (await ask(again, BY_SLM))["policy_step"] == standing["step"]


async def test_a_callers_word_without_a_shadow_is_a_label_and_says_nothing_of_a_promise(
    redis_url: str, temporal_address: str, profiles_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who says "wrong" does not know whether the large model would have been right."""
    monkeypatch.delattr(Workflows, "shadow")  # no profile here has any: Temporal is not asked for one
    write_promised(tmp_path, profiles_folder, "labelled")
    consent = tmp_path / "tenants.json"
    consent.write_text(json.dumps({"default": {"keep_outcomes_days": 30}}))
    async with run_system("labelled", tmp_path, redis_url, temporal_address, tenants=consent) as system:
        for right in (False, True):
            request_id = uuid4().hex
            await ask(system, BY_SLM, request_id=request_id)
            reply = await system.client.report(request_id, right)
            assert (reply.counting, reply.policy.outcomes, reply.policy.lost) == ("noted", 0, 0)
        [standing] = to_dict(await system.client.promises(with_outcomes=True))["policies"]
    assert [(each["told_by"], each["lost"]) for each in standing["kept"]] == [("caller", 1.0), ("caller", 0.0)]


async def test_a_label_is_kept_once_and_leaves_the_count_to_the_shadow(log: RequestLog) -> None:
    policy, request, now = policy_of_its_own(), uuid4().hex, datetime.now(UTC)
    consents = Watched(**{**vars(PROMISE), "keep_days": 30})
    label = replace(report(1.0, "0", request=request), is_label=True)
    assert (await log.promises.count(policy, consents, label, now))[0] is Counting.NOTED
    counting, counted = await log.promises.count(policy, consents, report(0.0, who="shadow", request=request), now)
    assert (counting, counted.outcomes, counted.lost) == (Counting.COUNTED, 1, 0)
    assert [(each.who, each.loss) for each in await log.promises.kept(policy, now)] == [("caller", 1.0)]


async def test_a_shadow_counts_what_the_served_answer_lost(
    redis_url: str, temporal_address: str, profiles_folder: Path, tmp_path: Path
) -> None:
    write_promised(tmp_path, profiles_folder, "promised-shadow", 'share = 1.0\njudge = "promised-shadow"')
    async with run_system("promised-shadow", tmp_path, redis_url, temporal_address) as system:
        same, judged = uuid4().hex, uuid4().hex
        await ask(system, BY_SLM, request_id=same)
        shadow = await shadow_of(system, same)
        assert (shadow["lost"], shadow["compared_by"], shadow["usd_judge"]) == (0.0, "match", 0.0)
        assert (await system.client.report(same, False)).counting == "noted"
        # The judge is the scripted model, which answers by what stands in the question: 5, and neither of the two
        # words.
        await ask(system, OTHERWISE, request_id=judged)
        shadow = await shadow_of(system, judged)
        assert (shadow["lost"], shadow["compared_by"]) == (None, "judge")
        assert shadow["usd_judge"] > 0
        await ended_timeline(system, judged)
        [standing] = to_dict(await system.client.promises())["policies"]
        assert (standing["outcomes"], standing["lost"]) == (1, 0.0)


async def test_the_command_judges_by_the_outcomes_that_a_tenant_lets_be_kept(
    redis_url: str, temporal_address: str, profiles_folder: Path, tmp_path: Path
) -> None:
    write_promised(tmp_path, profiles_folder, "kept", stages="1.0")
    consent = tmp_path / "tenants.json"
    consent.write_text(json.dumps({"default": {"keep_outcomes_days": 30}}))
    async with run_system("kept", tmp_path, redis_url, temporal_address, tenants=consent) as system:
        for _ in range(3):
            request_id = uuid4().hex
            await ask(system, BY_SLM, request_id=request_id)
            await system.client.report(request_id, True)
        words = [
            "calibrate",
            "--from-outcomes",
            "--lose-at-most",
            "0.05",
            "--profile",
            "kept",
            "--study",
            str(tmp_path / "study"),
        ]
        variables = {"TANDEM_ADDRESS": system.client.address, "TANDEM_PROFILES_PATH": str(tmp_path)}
        said = await asyncio.to_thread(tandem, *words, "--json", **variables)
        shown = await asyncio.to_thread(tandem, *words, "--write", **variables)
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    assert (found["task"], found["outcomes"]) == ("answer", 3)
    assert [row["is_accepted"] for row in found["judged"]] == [False] * len(found["judged"])  # three show nothing
    assert shown.returncode == 1
    assert "nothing was written: the outcomes show the promise for no policy" in shown.stderr
    assert (
        len((tmp_path / "study" / "looks.jsonl").read_text().splitlines()) == 1
    )  # the same outcomes are the same look
