"""What Temporal carries: without defaults, and read by whoever reads Temporal's own JSON."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter

from services.shared.process.payloads import BriefJson, BriefPayloads
from tandem.method.evidence.checks import CheckResult, Verdict
from tandem.method.profile.prices import RolePrices
from tandem.method.request.request import SolveRequest
from tandem.method.request.tasks import Ahead, GenerationOutcome, StageScore
from tandem.method.tokens import TokenCounts
from tandem.paths import REPOSITORY
from tests.steps import asked

_SCORE = StageScore(2, 32, 0.25, scorer="probe", scored=TokenCounts(40, 8), ahead=TokenCounts())
_REQUEST, _STEP = asked("r1", "why?", "pair", max_tokens=(16, 32), prices=RolePrices(3.0, 1.0, 6.0))
_OUTCOME = GenerationOutcome("eos", "so", TokenCounts(3, 0, 2), 2.0, 1.0, 1, prompt=TokenCounts(3))


def test_what_is_as_by_default_is_not_written() -> None:
    payload = BriefJson().to_payload(_STEP)
    assert payload is not None
    assert set(json.loads(payload.data)) == {"request_id", "profile", "max_tokens", "prices"}


def test_what_is_written_is_read_as_it_was_by_both_converters() -> None:
    for value in (_SCORE, _REQUEST, _STEP, _OUTCOME, TokenCounts(), Ahead(1, RolePrices())):
        payload = BriefJson().to_payload(value)
        assert payload is not None
        for reader in (BriefJson(), PydanticJSONPlainPayloadConverter()):
            assert reader.from_payload(payload, type(value)) == value


def test_an_infinite_number_stays_one() -> None:
    prices = RolePrices(1.0, math.inf, 2.0)
    payload = BriefJson().to_payload(prices)
    assert payload is not None
    assert BriefJson().from_payload(payload, RolePrices) == prices


def test_what_an_earlier_version_wrote_is_read() -> None:
    payload = PydanticJSONPlainPayloadConverter().to_payload(_SCORE)
    assert payload is not None
    assert BriefJson().from_payload(payload, StageScore) == _SCORE


def test_lists_none_and_plain_values_pass() -> None:
    results = [CheckResult("c", 1, "slm", Verdict.PASS, "", 1.0, 0.0, 1)]
    for value, kind in ((results, list[CheckResult]), (None, type(None)), (0.5, float), ((1, 2), tuple[int, ...])):
        [payload] = BriefPayloads().to_payloads([value])
        assert BriefPayloads().from_payloads([payload], [kind]) == [value]


def test_a_conversation_of_4_mb_of_code_is_below_what_temporal_takes_and_read_as_it_was() -> None:
    code = "".join(file.read_text() for file in sorted((REPOSITORY / "services").rglob("*.py")))
    long = replace(_REQUEST, question=(code * 9)[:4_000_000])
    [payload] = BriefPayloads().to_payloads([long])
    assert len(payload.data) < 2_000_000
    assert BriefPayloads().from_payloads([payload], [SolveRequest]) == [long]


def test_a_short_text_is_written_as_text() -> None:
    [payload] = BriefPayloads().to_payloads([replace(_REQUEST, question="x" * 60_000)])
    assert payload.metadata["encoding"] == b"json/plain"
