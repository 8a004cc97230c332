"""`tandem chat` as a user types it: it remembers, and Ctrl-C stops the models and not the conversation."""

from __future__ import annotations

import json
import os
import signal
import subprocess

from tandem.client.clients import Client
from tandem.local.supervisor import Stack
from tests.command import tandem
from tests.e2e.test_local_stack import MAIN

WORDS = ["chat", "--threshold", "0.8"]
YES = "[slm=yes_ slm_eos=4 scores=0:0.9]"


def chat(stack: Stack, *lines: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return tandem(*WORDS, *options, stdin="\n".join(lines).encode(), TANDEM_ADDRESS=stack.gateway)


def cancelled(stack: Stack) -> set[str]:
    with Client(stack.gateway) as client:
        return {each.request_id for each in client.list(limit=100).requests if each.state == 4}


def test_a_later_question_is_asked_with_what_was_said(stack: Stack) -> None:
    done = chat(stack, YES, "And?", "/clear", "And?", options=("--json", "--max-tokens", "20"))
    assert done.returncode == 0, done.stderr
    decoder, rest, results = json.JSONDecoder(), done.stdout, []
    while rest.strip():
        result, end = decoder.raw_decode(rest.lstrip())
        results.append(result)
        rest = rest.lstrip()[end:]
    # The script is in the first message; after /clear it is forgotten, and the models write as they do without one.
    assert [result["answer"] for result in results][:2] == ["yes", "yes"]
    assert results[2]["answer"] != "yes"
    assert [result["question"] for result in results] == [YES, "And?", "And?"]


def test_the_last_conversation_goes_on_and_a_cleared_one_does_not(stack: Stack) -> None:
    chat(stack, YES, options=("--json",))
    gone_on = chat(stack, "And?", "/clear", options=("-c", "--json"))
    assert json.loads(gone_on.stdout)["answer"] == "yes"
    refused = chat(stack, "And?", options=("-c",))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "no conversation to go on with" in refused.stderr


def test_an_answer_is_printed_with_its_stop_and_its_bill(stack: Stack) -> None:
    done = chat(stack, "[scores=16:0.9 llm=word_ slm=more_ slm_eos=9]")
    assert "word word word wmore mor" in done.stdout
    assert "the small model answered from 16 tokens of the large model · $0." in done.stdout


def test_a_question_that_fails_says_why_and_the_chat_goes_on(stack: Stack) -> None:
    done = chat(stack, "x" * 700, YES)
    assert "700 tokens" in done.stderr
    assert "yes" in done.stdout
    assert done.returncode == 1  # in a pipe somebody wants to know


def test_ctrl_c_stops_the_models_and_keeps_the_conversation(stack: Stack) -> None:
    before = cancelled(stack)
    process = subprocess.Popen(
        [*MAIN, *WORDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        env={**os.environ, "TANDEM_ADDRESS": stack.gateway, "PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{YES}\n")
    while "saved" not in process.stdout.readline():
        pass
    process.stdin.write("/clear\n[llm_hold=5]\n")
    assert process.stdout.read(1) == "x"
    process.send_signal(signal.SIGINT)
    process.stdin.write(f"{YES}\n")
    process.stdin.close()
    rest = process.stdout.read()
    process.wait(60)
    assert "stopped: cancelled · $" in rest
    assert "yes" in rest
    assert len(cancelled(stack) - before) == 1
