"""Views of the page that not every caller may see: which ones, and what those hold that no other API has."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from fastapi import APIRouter

from services.http_gateway.page import Caller
from tandem.errors import RequestError
from tandem.results import to_dict

_NOT_HERE = {"PERMISSION_DENIED", "FAILED_PRECONDITION", "UNIMPLEMENTED"}

router = APIRouter(prefix="/api", include_in_schema=False)


@router.get("/views")
async def views(client: Caller) -> dict[str, dict[str, str]]:
    """Why a view would show this caller nothing, by its name in the page's address."""
    why = {"batches": _refusal(client.batches.list(1)), "keys": _refusal(client.keys())}
    found = dict(zip(why, await asyncio.gather(*why.values()), strict=True))
    return {"refused": {view: refusal for view, refusal in found.items() if refusal}}


@router.get("/keys")
async def keys(client: Caller) -> dict[str, Any]:
    return to_dict(await client.keys())


async def _refusal(asked: Awaitable[object]) -> str:
    """Empty where it is answered. Raises RequestError where it may be answered another time."""
    try:
        await asked
    except RequestError as error:
        if error.code.name not in _NOT_HERE:
            raise
        return str(error)
    return ""
