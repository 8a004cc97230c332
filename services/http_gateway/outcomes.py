"""What became of answers: /v1/tandem/outcomes and /v1/tandem/promises, which OpenAI's API has no name for."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import Field, model_validator

from services.http_gateway.page import Caller
from services.http_gateway.reading import BodyRoute
from tandem.client.results import to_dict, to_dict_or_none
from tandem.openai.json_body import JsonBody

router = APIRouter(prefix="/v1/tandem", route_class=BodyRoute)


class Outcome(JsonBody):
    """`right`, or a `score` from 0 (wrong) to 1."""

    request_id: str = Field(min_length=1)
    right: bool | None = None
    score: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _check(self) -> Outcome:
        if (self.right is None) == (self.score is None):
            raise ValueError("give `right` or `score`")
        return self

    @property
    def said(self) -> bool | float:
        return self.right if self.score is None else self.score  # type: ignore[return-value]


@router.post("/outcomes")
async def report(client: Caller, outcome: Outcome) -> dict[str, Any]:
    """Say whether the answer of one of your requests was right, once; the same word again changes nothing."""
    reply = await client.report(outcome.request_id, outcome.said)
    return to_dict_or_none(reply, "policy")


@router.get("/promises")
async def promises(client: Caller, tenant: str = "", with_outcomes: bool = False) -> dict[str, Any]:
    """What outcomes and shadows say of the tenant's policies."""
    return to_dict(await client.promises(tenant, with_outcomes=with_outcomes))
