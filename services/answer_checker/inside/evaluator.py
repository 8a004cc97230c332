"""The examples' process: it holds what is expected, and calls the answer's functions in the other process."""

from __future__ import annotations

from services.answer_checker.inside.comparison import Comparison, Said
from services.answer_checker.inside.evidence import can_fail, is_own_measure
from services.answer_checker.inside.namespace import Test
from services.answer_checker.inside.remote import DoesNotLoad, Remote
from services.answer_checker.sandbox.messages import Channel
from tandem.method.evidence.examples import Example


def main(talk: Channel, peer: Channel) -> None:
    """Take the job from `talk`, and report to it, example by example: what begins, and how it ended.

    Where none is wrong or undecided, `judged` says so, and `proofs` which of them prove something.
    """
    job = talk.receive()
    examples = tuple(Example(**example) for example in job.pop("examples"))
    test, remote = Test(**job, examples=examples), Remote(peer)
    try:
        remote.wait_until_loaded()
    except DoesNotLoad as error:
        talk.send({"failed": str(error), "missing": error.missing})
        return
    functions = {name: remote.function(name) for name in test.tested(remote)}
    remote.calls.tested = frozenset(functions)
    comparison, held, is_sure = Comparison(test.namespace(functions), remote.calls), list[int](), True
    for index, example in enumerate(examples):
        talk.send({"begins": example.source})
        outcome = comparison.judge(example)
        talk.send({"said": outcome.said, "detail": outcome.detail})
        held += [index] if outcome.said is Said.HOLDS else []
        is_sure &= outcome.said in (Said.HOLDS, Said.NOTHING)
    if is_sure:
        has_changed = remote.calls.has_changed
        talk.send({"judged": True})
        is_own = has_changed and is_own_measure(test, functions, remote.calls, held)
        talk.send({"own_measure": is_own, "proofs": [] if is_own else sorted(can_fail(test, functions, held))})
