from __future__ import annotations

import os

import pytest

from tandem.local.layout import StackError
from tandem.local.supervisor import Stack
from tests import stacks


def test_a_stack_that_does_not_start_leaves_no_environment_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://before")
    seen = {}

    def plan_stack(profile: str, **_: bool) -> Stack:
        seen.update(os.environ)
        raise StackError("no port is free")

    monkeypatch.setattr("tandem.local.planning.plan_stack", plan_stack)
    before = dict(os.environ)
    values = {"TANDEM_TEST_JOURNAL": "/journal", "OTEL_EXPORTER_OTLP_ENDPOINT": None}
    with pytest.raises(StackError), stacks.scripted_stack(values):
        pass
    assert seen["TANDEM_TEST_JOURNAL"] == "/journal"
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" not in seen
    assert dict(os.environ) == before
