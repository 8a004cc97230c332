"""A page in a real browser: what it asks of others, what its policy refuses, and what axe finds.

`TANDEM_BROWSER=firefox` takes Firefox instead of Chromium: one that knows WebDriver BiDi's
`emulation.setMediaFeaturesOverride`, which ESR 153 does not.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

_PROGRAMS = {"chromium": ("chromium", "chromium-browser", "google-chrome"), "firefox": ("firefox", "firefox-esr")}
NAME = os.environ.get("TANDEM_BROWSER", "chromium")


def _program(name: str) -> str | None:
    return next(filter(None, map(shutil.which, _PROGRAMS[name])), None)


def _needs(name: str) -> pytest.MarkDecorator:
    reason = f"no {name} is on PATH; `make tools TOOLS=browser` installs Chromium"
    return pytest.mark.skipif(_program(name) is None, reason=reason)


needs_browser, needs_chromium = _needs(NAME), _needs("chromium")
needs_downloads = pytest.mark.skipif(NAME == "firefox", reason="by WebDriver BiDi Playwright is told of no download")
WIDE, NARROW = (1440, 900), (360, 760)
_AXE = Path(__file__).parent / "vendor" / "axe.min.js"
_TEXTS = Path(__file__).parent / "page_texts.js"
_SERIOUS = ("serious", "critical")
_BOUND_MS = 30_000


@dataclass
class Visit:
    """One tab. `refused` are the violations of its content security policy, `errors` what its scripts threw."""

    page: Page
    address: str
    requested: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    async def open(self, view: str = "") -> None:
        await self.page.goto(f"{self.address}/{view}")
        await expect(self.page.locator("main h1").first).to_be_attached()

    async def use_key(self, key: str) -> None:
        """Every page of this tab has an API key, from the next one on."""
        kept = f"sessionStorage.setItem('tandem-api-key', {json.dumps(key)})"
        await self.page.add_init_script(f"try {{ {kept} }} catch {{}}")  # an empty page has no storage

    async def ask(self, question: str, task: str = "Answer") -> str:
        """The id of the request that the form has started."""
        await self.page.get_by_label("Question", exact=True).fill(question)
        await self.page.locator(f".segments label:has-text('{task}')").click()
        before = self.page.url
        await self.page.get_by_role("button", name="Ask", exact=True).click()
        await expect(self.page).not_to_have_url(before)
        return self.page.url.rpartition("/")[2]

    async def done(self) -> None:
        await expect(self.page.get_by_role("heading", name="Bill by role and state")).to_be_visible()

    async def insight(self) -> str:
        """What the large model wrote, without the numbers at the ends of stages."""
        return "".join(await self.page.locator(".insight .text > span:not(.stage-end)").all_text_contents())

    async def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        return int(
            await self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        )

    async def joined_words(self) -> list[str]:
        """Pairs of texts that lack the blank between them."""
        found: list[str] = await self.page.evaluate(f"{_TEXTS.read_text()}.joined()")
        return found

    async def broken_amounts(self) -> list[str]:
        """Numbers, with their sign and unit, within which a line ends."""
        found: list[str] = await self.page.evaluate(f"{_TEXTS.read_text()}.broken()")
        return found

    async def serious_findings(self) -> list[str]:
        await self.page.evaluate(_AXE.read_text())
        found: dict[str, Any] = await self.page.evaluate("axe.run()")
        return [
            f"{rule['id']}: {json.dumps([node['target'] for node in rule['nodes']])}"
            for rule in found["violations"]
            if rule["impact"] in _SERIOUS
        ]

    def assert_kept_to_itself(self) -> None:
        """Nothing was asked of another host, nothing was refused, and nothing failed."""
        own = urlsplit(self.address).netloc
        assert {urlsplit(url).netloc for url in self.requested} == {own}
        assert self.refused == []
        assert self.errors == []


@contextlib.asynccontextmanager
async def chromium(*options: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        # Without its own sandbox it also runs as root; it opens nothing but this test's page.
        browser = await playwright.chromium.launch(
            executable_path=_program("chromium"), args=["--no-sandbox", *options]
        )
        yield browser
        await browser.close()


@contextlib.asynccontextmanager
async def _firefox() -> AsyncIterator[Browser]:
    """As its maker ships it, by WebDriver BiDi."""
    async with async_playwright() as playwright:
        browser = await playwright.firefox.launch(
            channel="moz-firefox",
            executable_path=_program("firefox"),
            firefox_user_prefs={"ui.prefersReducedMotion": 1},
        )
        yield browser
        await browser.close()


def a_browser() -> contextlib.AbstractAsyncContextManager[Browser]:
    return _firefox() if NAME == "firefox" else chromium()


@contextlib.asynccontextmanager
async def visit(
    browser: Browser, address: str, size: tuple[int, int] = WIDE, scheme: Any = "light"
) -> AsyncIterator[Visit]:
    """A tab with a storage of its own. Firefox is not told a colour scheme: WebDriver BiDi has no word for it yet."""
    media: dict[str, Any] = {"color_scheme": scheme, "reduced_motion": "reduce"}
    context = await browser.new_context(
        viewport={"width": size[0], "height": size[1]}, **(dict.fromkeys(media, "null") if NAME == "firefox" else media)
    )
    context.set_default_timeout(_BOUND_MS)
    expect.set_options(timeout=_BOUND_MS)
    page = await context.new_page()
    visiting = Visit(page, address)
    await page.expose_function("refusedByPolicy", lambda refused: visiting.refused.append(refused))
    await page.add_init_script(
        "addEventListener('securitypolicyviolation', e => refusedByPolicy(`${e.violatedDirective} ${e.blockedURI}`))"
    )
    page.on("request", lambda request: visiting.requested.append(request.url))
    page.on("pageerror", lambda error: visiting.errors.append(str(error)))
    yield visiting
    await context.close()
