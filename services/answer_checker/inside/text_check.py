"""A check that compares texts, in a process of its own: a pattern may take for ever, and a package's check may
break.
"""

from __future__ import annotations

from services.answer_checker.sandbox.messages import Channel
from services.shared.checks.registry import checks

_CHECKS = checks()  # loaded by the fork server: inside the sandbox an installed package may be out of reach


def main(talk: Channel) -> None:
    """Take the job from `talk`, and answer with what the check says, or how it failed."""
    job = talk.receive()
    compare = _CHECKS[job["name"]].compare
    if compare is None:
        raise TypeError(f"{job['name']} does not compare texts")
    try:
        compared = compare(job["question"], job["answer"], job["argument"])
    except Exception as error:
        talk.send({"verdict": "error", "detail": f"{type(error).__name__}: {error}"[:500], "score": 0.0})
        return
    talk.send({"verdict": str(compared.verdict), "detail": compared.detail, "score": compared.score})
