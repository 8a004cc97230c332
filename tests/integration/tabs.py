"""A browser, a tab and an HTTP gateway of one's own."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

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


# In the page, because WebDriver BiDi does not tell what a request's body is.
_TELL_BODIES = """
const send = window.fetch;
window.fetch = async (path, options = {}) => {
  if (path === "/api/requests" && options.method === "POST") await tellBody(await options.body.text());
  return send(path, options);
};
"""


async def asked_bodies(tab: Visit) -> list[dict[str, Any]]:
    """The bodies of what the page asks, once it is opened."""
    bodies: list[dict[str, Any]] = []
    await tab.page.expose_function("tellBody", lambda body: bodies.append(json.loads(body)))
    await tab.page.add_init_script(_TELL_BODIES)
    return bodies
