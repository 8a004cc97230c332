"""How a model writes calls is read off its chat template, and what it has written is read by that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from services.models.engine.api import PromptRefused
from services.models.engine.call_format import AN_ID, CallFormat
from services.models.engine.chat_template import ChatTemplate
from services.models.engine.text import SpokenText
from tandem.method.tools import short_id

TEMPLATES = Path(__file__).parents[1] / "templates"
TAGS = CallFormat(
    '<tool_call>\n{"name": "', '", "arguments": ', '}\n</tool_call>\n<tool_call>\n{"name": "', "}\n</tool_call>"
)
BARE = CallFormat('{"name": "', '", "parameters": ', "", "}")
FENCED = CallFormat(
    "<calls><call>function<sep>",
    "\n```json\n",
    "\n```</call>\n<call>function<sep>",
    "\n```</call></calls>",
    are_texts=True,
)
LISTED = CallFormat('[CALLS] [{"name": "', '", "arguments": ', '}, {"name": "', "}]")
NUMBERED = CallFormat(
    '[CALLS][{"name": "',
    '", "arguments": ',
    f', "id": "{AN_ID}"}}, {{"name": "',
    f', "id": "{AN_ID}"}}]',
)
SPECIAL = CallFormat("[CALLS]", f"[ID]{AN_ID}[ARGS]", "[CALLS]", "")
FORMATS = {"tags": TAGS, "bare": BARE, "fenced": FENCED, "listed": LISTED, "numbered": NUMBERED, "special": SPECIAL}


def template(name: str) -> ChatTemplate:
    return ChatTemplate((TEMPLATES / f"{name}.jinja").read_text(), {})


@pytest.mark.parametrize("name", FORMATS)
def test_a_template_shows_how_calls_are_written(name: str) -> None:
    assert template(name).calls == FORMATS[name]


@pytest.mark.parametrize("name", FORMATS)
def test_what_the_template_writes_of_earlier_calls_is_read_as_the_same_calls(name: str) -> None:
    arguments = {"city": 'Pa"ris} ]', "days": [1, {"é": None}]}
    functions = [{"name": n, "arguments": arguments} for n in (("f",) if name == "bare" else ("f", "g.h"))]
    calls = [{"id": f"call_{n}", "type": "function", "function": function} for n, function in enumerate(functions)]
    said = [{"role": "user", "content": "why?"}, {"role": "assistant", "content": "", "tool_calls": calls}]
    text = template(name).render(
        [*said, *([{"role": "tool", "content": "sun", "tool_call_id": "call_0"}] if name != "listed" else [])]
    )
    written = text[text.index(FORMATS[name].first) :]
    content, read = FORMATS[name].read(written)
    assert content == ""
    assert [found for found, _ in read] == [function["name"] for function in functions]
    assert {given for _, given in read} == {'{"city": "Pa\\"ris} ]", "days": [1, {"é": null}]}'}


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Sunny.", ("Sunny.", [])),
        ('Wait.\n<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>', ("Wait.", [("f", "{}")])),
        (
            '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>\n<tool_call>\n{"name": "g", '
            '"arguments": {"b"',
            ("", [("f", '{"a": 1}')]),
        ),
        ('<tool_call>\n{"name": "f", "argu', ("", [])),
        ("I say <tool_call> only.", ("I say <tool_call> only.", [])),
        ("", ("", [])),
        ('```json\n{\n  "name": "f",\n  "arguments": {"a": 1}\n}\n```', ("", [("f", '{"a": 1}')])),
        ('{"name": "f", "arguments": {}}', ("", [("f", "{}")])),
        ('{"name": "f", "arguments": {}, "more": 1}', ('{"name": "f", "arguments": {}, "more": 1}', [])),
        ('{"name": "f", "arguments": 1}', ('{"name": "f", "arguments": 1}', [])),
        ('So: {"name": "f", "arguments": {}}', ('So: {"name": "f", "arguments": {}}', [])),
    ],
)
def test_text_and_calls_are_told_apart_and_half_a_call_is_none(
    text: str, read: tuple[str, list[tuple[str, str]]]
) -> None:
    assert TAGS.read(text) == read


@pytest.mark.parametrize("name", ["numbered", "special"])
def test_ids_of_a_conversation_are_told_as_the_template_takes_them(name: str) -> None:
    call = {"id": "call_0123456789abcdef", "type": "function", "function": {"name": "f", "arguments": {}}}
    said = [
        {"role": "user", "content": "why?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "sun", "tool_call_id": call["id"]},
    ]
    text = template(name).render(said)
    assert "call_0" not in text
    assert text.count(short_id("call_0123456789abcdef")) == 2


@pytest.mark.parametrize(
    "written", ['{"name": "f", "arguments": {}, "id": "short"}]', '{"name": "f", "arguments": {}}]']
)
def test_a_call_whose_id_is_none_is_read_all_the_same(written: str) -> None:
    assert NUMBERED.read(f"Hm.[CALLS][{written}") == ("Hm.", [("f", "{}")])


def test_where_nothing_marks_a_call_a_text_with_a_call_in_its_middle_is_a_text() -> None:
    assert BARE.read('{"name": "f", "parameters": {}}') == ("", [("f", "{}")])
    assert BARE.read('Say {"name": "f", "parameters": {}}')[1] == []
    assert (BARE.mark, TAGS.mark, LISTED.mark, FENCED.mark) == (
        "",
        "<tool_call>",
        "[CALLS]",
        "<calls><call>function<sep>",
    )


def test_what_marks_a_call_is_one_of_its_own_tokens_where_it_begins_with_one() -> None:
    tokens = (("<calls>", 7), ("<call>", 8), ("<sep>", 9))
    assert replace(FENCED, tokens=tokens).mark == "<calls>"
    assert replace(SPECIAL, tokens=(("[ARGS]", 7), ("[CALLS]", 8))).mark == "[CALLS]"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
        "{% for m in messages %}{{ m.content }}{{ m.tool_calls }}{% endfor %}",
        "{{ raise_exception('never') }}",
        "{{ tools | tojson }}{% for m in messages %}{{ m.content }}{{ m.tool_calls | tojson }}{% endfor %}",
    ],
)
def test_a_model_whose_template_shows_no_calls_is_given_no_tools(text: str | None) -> None:
    with pytest.raises(PromptRefused):
        _ = ChatTemplate(text, {}).calls


def test_a_template_may_mark_what_a_training_learns() -> None:
    marked = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
    assert ChatTemplate(marked, {}).render([("user", "why?")]) == "why?"


@pytest.mark.parametrize(
    ("form", "pieces", "said"),
    [
        (TAGS, ["Sun", "ny.", " <b>"], [3, 6, 10]),
        (TAGS, [" \n", "Hm", ".\n<tool", "_call", '>\n{"name": "f"'], [0, 4, 6, 6, 6]),
        (TAGS, ["a <tool_", "kit> b"], [2, 14]),
        (TAGS, ["`", "`", "`json", "\n{"], [0, 0, 0, 0]),
        (TAGS, ["`x`", " is"], [3, 6]),
        (TAGS, ["``", "x``"], [0, 5]),
        (TAGS, ["[1]", " is a list"], [0, 0]),
        (BARE, ['{"', "a"], [0, 3]),
        (BARE, ['{"na', 'me": "', "f"], [0, 0, 0]),
        (replace(TAGS, reads_bare=False), ['{"name": ', "1"], [9, 10]),
        (SPECIAL, ["Wait [", "CALLS]w"], [5, 5]),
    ],
)
def test_what_is_text_for_sure_is_known_while_it_is_written(
    form: CallFormat, pieces: list[str], said: list[int]
) -> None:
    spoken = SpokenText(form)
    assert [spoken.push(piece) for piece in pieces] == said
    assert SpokenText(form, "".join(pieces)).push("") == said[-1]
    text, _ = form.read("".join(pieces))
    assert "".join(pieces)[: said[-1]].strip() == text[: len("".join(pieces)[: said[-1]].strip())]
