"""docs/stream.md has each event of the contract, each of its fields, and examples that the contract can read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from google.protobuf.json_format import Parse

from tandem.client.events import event_from_pb
from tandem.v1 import tandem_pb2

PAGE = (Path(__file__).parents[2] / "docs" / "stream.md").read_text()
EVENTS = {field.name: field.message_type for field in tandem_pb2.SolveEvent.DESCRIPTOR.oneofs_by_name["event"].fields}
SECTIONS = dict(re.findall(r"^### (\S+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))


def test_the_page_has_each_event_of_the_contract_and_no_other() -> None:
    assert set(SECTIONS) == set(EVENTS)


@pytest.mark.parametrize("event", EVENTS)
def test_a_section_names_each_field_of_its_event_once_and_no_other(event: str) -> None:
    named = [
        name
        for names in re.findall(r"^- ((?:`\w+`(?:, )?)+):", SECTIONS[event], re.MULTILINE)
        for name in re.findall(r"\w+", names)
    ]
    assert sorted(named) == sorted(EVENTS[event].fields_by_name)


@pytest.mark.parametrize("event", EVENTS)
def test_a_section_has_an_example_that_is_this_event(event: str) -> None:
    [example] = re.findall(r"^```json\n(.*?)```", SECTIONS[event], re.MULTILINE | re.DOTALL)
    message = Parse(example, tandem_pb2.SolveEvent())
    assert message.cursor
    assert message.WhichOneof("event") == event
    assert event_from_pb(message) is not None


def test_the_page_says_what_each_source_of_the_answers_text_means() -> None:
    assert set(re.findall(r"^- `(ANSWER_TEXT_\w+)`", PAGE, re.MULTILINE)) == set(tandem_pb2.AnswerText.keys())
