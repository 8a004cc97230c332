"""A program with tests of the caller's, in one process: for grading, whose tests are whole programs and not
comparisons.
"""

from __future__ import annotations

import sys
from types import ModuleType

from services.answer_checker.sandbox.messages import Channel

_NAME = "answer"


def main(talk: Channel) -> None:
    """Run the program of the job, then ask for the tests, and say their `word` when they have ended without an error.

    The program has been loaded before the word comes: it cannot say it for the tests, nor by ending the process.
    """
    module = ModuleType(_NAME)
    sys.modules[_NAME] = module  # dataclasses look their own module up
    exec(compile(talk.receive()["program"], f"{_NAME}.py", "exec"), module.__dict__)  # nosec B102  # runs in the sandbox
    talk.send({"loaded": True})
    job = talk.receive()
    exec(compile(job["tests"], "tests.py", "exec"), module.__dict__)  # nosec B102  # runs in the sandbox
    talk.send({"word": job["word"]})
