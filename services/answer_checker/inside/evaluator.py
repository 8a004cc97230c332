"""The examples' process: it holds what is expected, and calls the answer's functions in the other process."""

from __future__ import annotations

from typing import Any

from services.answer_checker.inside.comparison import Comparison, Outcome
from services.answer_checker.inside.namespace import make_namespace
from services.answer_checker.inside.remote import DoesNotLoad, Remote
from services.answer_checker.sandbox.messages import Channel
from tandem.method.examples import Example


def main(talk: Channel, peer: Channel) -> None:
    """Take the job from `talk`, and report to it, example by example: what begins, and how it ended."""
    job = talk.receive()
    examples = [Example(**example) for example in job["examples"]]
    remote = Remote(peer)
    try:
        remote.wait_until_loaded()
    except DoesNotLoad as error:
        talk.send({"failed": str(error), "missing": error.missing})
        return
    comparison = Comparison(make_namespace(job["setup"], job["entry"], examples, remote))
    for example in examples:
        talk.send({"begins": example.source})
        talk.send(_report(comparison.judge(example)))


def _report(outcome: Outcome) -> dict[str, Any]:
    return {"holds": outcome.holds, "detail": outcome.detail}
