"""A browser, a tab and an HTTP gateway of one's own."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from playwright.async_api import Route

from tests.browser import Visit, a_browser, visit
from tests.integration.edge import serving


@contextlib.asynccontextmanager
async def own_tab(gateway: str) -> AsyncIterator[Visit]:
    """A tab of an HTTP gateway before `gateway`; at the end nothing was asked of others, refused or thrown."""
    async with (
        serving(gateway) as http,
        a_browser() as browser,
        visit(browser, str(http.base_url).rstrip("/")) as visiting,
    ):
        yield visiting
        visiting.assert_kept_to_itself()


async def asked_bodies(tab: Visit) -> list[dict[str, Any]]:
    """The bodies of what the page asks, from now on."""
    bodies: list[dict[str, Any]] = []

    async def keep(route: Route) -> None:
        if route.request.method == "POST":
            bodies.append(json.loads(route.request.post_data or ""))
        await route.continue_()

    await tab.page.route("**/api/requests", keep)
    return bodies
