"""Whose cached conversation a request may share."""

from __future__ import annotations

import pytest

from services.generation.role_generator import conversation_owner
from tandem.method.conversation import Task
from tandem.method.tasks import ModelTask


@pytest.mark.parametrize(
    ("request_id", "task", "owner"),
    [("tenant/1", "chat", "tenant"), ("1", "chat", ""), ("tenant/1", "answer", None), ("tenant/1", "code", None)],
)
def test_a_chat_belongs_to_its_tenant_and_nothing_else_is_kept(request_id: str, task: Task, owner: str | None) -> None:
    assert conversation_owner(ModelTask(request_id, "q", "profile", task=task)) == owner
