"""A browser, a tab and an HTTP gateway of one's own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from tests.browser import Visit, chromium, visit
from tests.integration.edge import serving


@contextlib.asynccontextmanager
async def own_tab(gateway: str) -> AsyncIterator[Visit]:
    """A tab of an HTTP gateway before `gateway`; at the end nothing was asked of others, refused or thrown."""
    async with (
        serving(gateway) as http,
        chromium() as browser,
        visit(browser, str(http.base_url).rstrip("/")) as visiting,
    ):
        yield visiting
        visiting.assert_kept_to_itself()
