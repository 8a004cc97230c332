"""Evidence about calls: how sure the model was of each part, and what they say."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tandem.method.conversation import Message
from tandem.method.errors import InvalidArgument
from tandem.method.evidence.call_evidence import CALL_NAMES, TEXT_NAMES, Written, doubt, evidence
from tandem.method.evidence.call_scorer import Regression, Tools, TrainedCalls, TrainedOn, call_scorer
from tandem.method.tools import Tool, ToolCall

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["celsius", "kelvin"]}},
    "required": ["city"],
}
WEATHER = Tool("weather", "Tells it.", json.dumps(SCHEMA))
ARGUMENTS = '{"city": "Paris", "days": 3, "unit": "celsius"}'
PIECES = [
    ("<call>", -0.1),
    ("weather", -0.2),
    (" {", -0.01),
    ('"city', -0.3),
    ('": "', -0.02),
    ("Par", -0.4),
    ("is", -0.5),
    ('", "', -0.6),
    ("days", -0.7),
    ('": ', -0.01),
    ("3", -0.8),
    (', "', -0.01),
    ("unit", -0.9),
    ('": "', -0.01),
    ("celsius", -1.1),
    ('"}', -0.01),
    ("</call>", -0.01),
    ("", -0.05),
]
WRITTEN = Written(PIECES, [("weather", ARGUMENTS)])


def found(written: Written = WRITTEN, said: str = "Weather in Paris?") -> dict[str, float]:
    return evidence(written, [WEATHER], [said])


def test_the_example_is_what_the_pieces_write() -> None:
    assert "".join(text for text, _ in PIECES) == f"<call>weather {ARGUMENTS}</call>"


def test_each_part_of_a_call_has_the_certainty_of_the_tokens_that_write_it() -> None:
    values = found()
    assert values["least"] == -1.1
    assert values["mean"] == pytest.approx(sum(chance for _, chance in PIECES) / len(PIECES))
    assert (values["opening"], values["ending"]) == (-0.1, -0.05)
    assert values["name_least"] == -0.2
    assert values["key_least"] == -0.9
    assert (values["number_mean"], values["number_least"]) == (-0.8, -0.8)
    assert values["text_least"] == -0.6  # the quotation mark that ends it, too
    assert values["text_mean"] == pytest.approx(-0.5)
    assert values["choice_least"] == -1.1


def test_what_a_call_does_not_have_is_certain() -> None:
    arguments = '{"city": "Rome"}'
    pieces = [("<call>", -0.1), ("weather", -0.2), (f" {arguments}", -0.3), ("", -0.1)]
    values = found(Written(pieces, [("weather", arguments)]))
    assert (values["number_mean"], values["choice_least"]) == (0.0, 0.0)


def test_values_that_nobody_said_are_told_apart() -> None:
    assert found(said="Weather in paris for 3 days, in celsius?")["grounded"] == 1.0
    assert found(said="Weather in Paris?")["grounded"] == pytest.approx(1 / 3)
    assert found()["optional"] == pytest.approx(2 / 3)


def test_the_parts_of_several_calls_are_found_one_after_the_other() -> None:
    one, two = '{"city": "Rome"}', '{"city": "Oslo"}'
    pieces = [("weather", -0.1), (f" {one}", -0.2), ("weather", -0.9), (f" {two}", -0.4), ("", 0.0)]
    values = found(Written(pieces, [("weather", one), ("weather", two)]))
    assert values["name_least"] == -0.9
    assert values["calls"] == pytest.approx(math.log1p(2))


def test_a_call_in_another_form_than_the_template_s_has_evidence_too() -> None:
    pieces = [
        ('```json\n{"name":"', -0.9),
        ("weather", -0.3),
        ('","arguments":{"', -0.8),
        ("city", -0.2),
        ('":"', -0.7),
        ("Rome", -0.5),
    ]
    values = found(Written([*pieces, ('"}}\n```', -0.1), ("", -0.6)], [("weather", '{"city": "Rome"}')]))
    assert (values["name_least"], values["key_least"], values["text_mean"]) == (-0.8, -0.7, pytest.approx(-0.3))


def test_a_text_without_a_call_has_evidence_of_its_own() -> None:
    values = found(Written([("No", -0.5), (" tool.", -0.1), ("", -0.2)], []))
    assert tuple(values) == TEXT_NAMES


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ("Traceback (most recent call last): ...", "the last result is an error"),
        ("Error: no such city", "the last result is an error"),
        ('{"error": "no such city"}', "the last result is an error"),
        ('{"error": null, "rain": true}', ""),
        ("rain, without terror", ""),
    ],
)
def test_a_result_that_is_an_error_raises_a_doubt(result: str, why: str) -> None:
    call = ToolCall("call_1", "weather", ARGUMENTS)
    history = [Message("user", "?"), Message("assistant", "", (call,)), Message("tool", result, call_id="call_1")]
    assert doubt([("weather", '{"city": "Rome"}')], history) == why


def test_the_same_call_again_raises_a_doubt_however_it_is_written() -> None:
    call = ToolCall("call_1", "weather", ARGUMENTS)
    history = [Message("user", "?"), Message("assistant", "", (call,)), Message("tool", "rain", call_id="call_1")]
    again = json.dumps(dict(reversed(json.loads(ARGUMENTS).items())))
    assert doubt([("weather", again)], history) == "it makes the same call again"
    assert doubt([("other", again)], history) == ""


def test_a_call_that_stands_in_a_text_is_not_taken_for_none() -> None:
    tools = [Tool("weather")]
    assert doubt([], [], 'I call {"name": "weather"}', tools) == "a call stands in the text, so that none is read"
    assert doubt([], [], "The weather is fine.", tools) == ""
    assert doubt([("weather", "{}")], [], 'I call {"name": "weather"}', tools) == ""


def trained(**changes: object) -> TrainedCalls:
    about = TrainedOn(tasks_sha256="", tasks=1, label="right", folds=5, seed=0, kinds={}, versions={}, command="")
    least = Regression(names=("least",), mean=(-1.0,), spread=(2.0,), weight=(4.0,), offset=0.5)
    given = {"pair": {"slm": "tiny"}, "computed_by": "llamacpp", "calls": least, "trained_on": about, **changes}
    return TrainedCalls.model_validate(given)


def test_a_trained_scorer_is_read_from_the_profiles_folder_and_scores_as_it_was_fitted(tmp_path: Path) -> None:
    trained().save(tmp_path / "calls")
    scorer = call_scorer(Tools(scorer="calls:calls"), tmp_path, {"slm": "tiny"}, "llamacpp")
    assert scorer.score(WRITTEN, [WEATHER], []) == pytest.approx(1 / (1 + math.exp(-(0.5 + 4 * (-1.1 + 1) / 2))))
    assert scorer.score(Written([("No.", -0.1)], []), [WEATHER], []) is None


def test_certainty_needs_no_training_and_has_no_score_of_a_text() -> None:
    scorer = call_scorer(Tools(), Path(), {}, "any")
    assert scorer.score(Written([("a", -0.5), ("b", -1.5)], [("weather", "{}")]), [WEATHER], []) == pytest.approx(
        math.exp(-1)
    )
    assert scorer.score(Written([("No.", 0.0)], []), [WEATHER], []) is None


@pytest.mark.parametrize(
    ("pair", "engine", "why"),
    [({"slm": "other"}, "llamacpp", "slm differ"), ({"slm": "tiny"}, "vllm", "trained on llamacpp, here vllm")],
)
def test_a_scorer_of_another_pair_or_engine_is_refused(
    tmp_path: Path, pair: dict[str, str], engine: str, why: str
) -> None:
    trained().save(tmp_path)
    with pytest.raises(InvalidArgument, match=why):
        call_scorer(Tools(scorer="calls"), tmp_path, pair, engine)


def test_a_scorer_that_is_missing_or_reads_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="holds no scorer of calls"):
        call_scorer(Tools(scorer="calls:none"), tmp_path, {}, "llamacpp")
    other = Regression(names=("mood",), mean=(0.0,), spread=(1.0,), weight=(1.0,), offset=0.0)
    trained(calls=other).save(tmp_path)
    with pytest.raises(InvalidArgument, match="other evidence"):
        call_scorer(Tools(scorer="calls"), tmp_path, {"slm": "tiny"}, "llamacpp")


def test_the_evidence_of_a_text_is_part_of_that_of_calls() -> None:
    assert set(found()) == set(CALL_NAMES) > set(TEXT_NAMES)
