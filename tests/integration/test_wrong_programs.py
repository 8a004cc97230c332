"""No wrong program passes a test that it should fail, and right programs lose nothing by that."""

from __future__ import annotations

import pytest

from tests.integration.checking import PASS, Running
from tests.integration.right_programs import RIGHT_PROGRAMS
from tests.integration.wrong_programs import WRONG

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("case", WRONG)
async def test_a_wrong_program_does_not_pass(checker: Running, case: str) -> None:
    answer, test, question = WRONG[case]
    result = await checker.examples(answer, test, question)
    assert result.verdict != PASS, result


@pytest.mark.parametrize("case", RIGHT_PROGRAMS)
async def test_a_right_program_passes(checker: Running, case: str) -> None:
    answer, test, question = RIGHT_PROGRAMS[case]
    result = await checker.examples(answer, test, question)
    assert result.verdict == PASS, result
