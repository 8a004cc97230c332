from __future__ import annotations

from tandem.client.results import to_dict, to_dict_or_none
from tandem.v1 import tandem_pb2


def test_every_key_is_there_and_what_is_unknown_is_null() -> None:
    result = to_dict(tandem_pb2.SolveResult(stop=tandem_pb2.Stop(reason=tandem_pb2.STOP_REASON_BEST_STAGE)))
    assert result["stop"] == {"stage": 0, "reason": "best_stage", "score": None, "threshold": None}
    assert result["stages"] == []
    assert result["usage"]["llm"]["input_tokens"] == 0
    assert result["timings_ms"]["cancel"] is None
    assert result["cost"]["usd"] is None
    assert result["cost"]["tflops_full"] == 0.0


def test_numbers_stay_numbers_and_lists_stay_lists() -> None:
    stage = tandem_pb2.StageResult(stage=1, tokens=7, score=0.5)
    result = to_dict(tandem_pb2.SolveResult(stages=[stage], notes=["a"]))
    assert (result["stages"][0]["tokens"], result["stages"][0]["score"], result["notes"]) == (7, 0.5, ["a"])


def test_a_message_that_is_unset_is_null_where_it_is_named_and_keeps_its_place() -> None:
    unset = tandem_pb2.GetRequestResponse(request_id="a")
    found = to_dict_or_none(unset, "result")
    assert (found["result"], found["shadow"]) == (None, to_dict(tandem_pb2.Shadow()))
    assert list(found) == list(to_dict(unset))
    ended = tandem_pb2.GetRequestResponse(result=tandem_pb2.SolveResult(answer="42"))
    assert to_dict_or_none(ended, "result") == to_dict(ended)
