"""A public compliance suite (llm-comply) against a real gateway: OpenAI's chat completions, and Open Responses."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")
SUITE = Path(sys.executable).parent / "llm-comply"
# What this gateway refuses by name, which is no failure of its own: docs/openai-parameters.md.
REFUSED = {
    "openai-chat": {"chat-image-input"},
    "open-responses": {"image-input"},
}
# OpenAI's own client has these events; the suite's specification does not.
BEYOND = "response.reasoning_text"


async def results(http: httpx.AsyncClient, form: str) -> dict[str, dict[str, Any]]:
    """By the id of each of the suite's tests that applies to this model."""
    options = ("--format", form, "-u", f"{http.base_url}/v1", "-k", "none", "-m", "scripted", "-i", BEYOND, "--json")
    running = await asyncio.create_subprocess_exec(str(SUITE), *options, stdout=asyncio.subprocess.PIPE)
    output, _ = await running.communicate()
    return {found["id"]: found for found in json.loads(output)["results"] if found["status"] != "skipped"}


@pytest.mark.parametrize("form", REFUSED)
async def test_the_suite_passes_but_for_what_is_refused_by_name(http: httpx.AsyncClient, form: str) -> None:
    found = await results(http, form)
    failed = {name: result["errors"] for name, result in found.items() if result["status"] == "failed"}
    assert set(failed) == REFUSED[form], failed
    assert all("HTTP 400 (expected [200])" in errors for errors in failed.values()), failed
    assert len(found) - len(failed) >= 6
