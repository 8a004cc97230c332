"""Formulas in LaTeX on the page: drawn as MathML by a library of the package; dollars of prose and code stay what they
are.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Route, expect

from tests.browser import Visit, needs_browser
from tests.integration.conftest import System
from tests.integration.tabs import own_tab

pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs_browser]
FORMULAS = r"""
Let $x^2 + y_1 = \frac{1}{2}$, so that \(\alpha \ne 0\). It costs $5 and $6, in `$HOME$`:

\[
\int_0^1 \sqrt{1 - x^2}\,dx = \frac{\pi}{4}
\]
where
$$\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}$$

| value | of |
|---|---|
| $\sigma$ | the spread |
"""
LEXED = [
    ("Euler: $e^{i\\pi}+1=0$.", ["e^{i\\pi}+1=0"]),
    ("It costs $5 and $6.", []),
    ("US$5 or A$x$", []),
    ("$HOME/bin:$PATH", []),
    ("\\$5 and \\$6, $20 for me and 30$", []),
    ("`$x$` and\n```\n$y$\n```", []),
    ("\\(x_1\\) and \\(see below\\)", ["x_1"]),
    ("a \\[link\\] and so $$a+b$$ ok", ["a+b D"]),
    ("text\n\\[\nx^2 = 1\n\\]\nmore", ["x^2 = 1 D"]),
    ("- item $a_1$\n- two \\[\n  x=1\n  \\]", ["a_1", "x=1 D"]),
    ("$x$-axis and *b* $c*d$ e*", ["x", "c*d"]),
    ("so \\boxed{3 h 25 min}, or \\boxed{\\frac{1}{2}}", ["\\boxed{\\text{3 h 25 min}}", "\\boxed{\\frac{1}{2}}"]),
    ("$$\nnever closed", []),
]
IS_STACKED = """part => {
  const [above, below] = [...part.children].map((child) => child.getBoundingClientRect());
  return [part.namespaceURI, above.bottom <= below.top];
}"""
GAPS = """(all) => all.map((one) => {
  const [base, script] = one.children;
  return (one.getBoundingClientRect().right - script.getBoundingClientRect().right) / parseFloat(getComputedStyle(base).fontSize);
})"""
OF = """async (texts) => {
  const { lexer } = await import("/assets/markdown_lexer.js");
  const found = (token) => token.type === "formula" ? [token.tex + (token.isDisplay ? " D" : "")]
    : [...(token.tokens ?? []), ...(token.items ?? [])].flatMap(found);
  return texts.map((text) => lexer(text).flatMap(found));
}"""


@pytest_asyncio.fixture(loop_scope="session")
async def tab(system: System) -> AsyncIterator[Visit]:
    async with own_tab(system.client.address) as visiting:
        yield visiting


async def shown(tab: Visit, system: System, answer: str) -> Locator:
    """A request that has `answer`."""
    request_id = (await system.client.ask("[scores=0:0.9 slm_eos=4]")).request_id

    async def answered(route: Route) -> None:
        reply = await route.fetch()
        found = await reply.json()
        found["result"] |= {"text": answer, "answer": answer, "reasoning": answer}
        await route.fulfill(response=reply, body=json.dumps(found))

    await tab.page.route(f"**/api/requests/{request_id}", answered)
    await tab.open(f"#/requests/{request_id}")
    await tab.done()
    return tab.page.locator("section.answer .text")


async def test_formulas_are_drawn_and_dollars_of_prose_stay(tab: Visit, system: System) -> None:
    answer = await shown(tab, system, FORMULAS)
    await expect(answer.locator("math")).to_have_count(5)
    assert await answer.locator("math[display=block]").count() == 2
    for part in ("mfrac", "msqrt", "mtable", "msubsup"):
        await expect(answer.locator(part).first).to_be_visible()
    drawn = await answer.locator("mfrac").first.evaluate(IS_STACKED)
    assert drawn == ["http://www.w3.org/1998/Math/MathML", True]
    await expect(answer).to_contain_text("It costs $5 and $6, in $HOME$:")
    assert await tab.serious_findings() == []


async def test_a_superscript_stands_at_its_base_and_what_follows_at_it(tab: Visit, system: System) -> None:
    """Without a font of mathematics Chromium raises it by half an em, and leaves a gap behind it."""
    answer = await shown(tab, system, "So $x^2, 2^{10}$.")
    await expect(answer.locator("msup")).to_have_count(2)
    for gap in await answer.locator("msup").evaluate_all(GAPS):
        assert gap < 0.12


async def test_what_is_no_formula_is_shown_as_it_was_written(tab: Visit, system: System) -> None:
    answer = await shown(tab, system, r"Broken: $\frac{1$, \(\nosuchmacro{x}\), $\def\a{\a\a}\a$.")
    await expect(answer).to_contain_text(r"$\frac{1$")
    await expect(answer).to_contain_text(r"$\def\a{\a\a}\a$")


async def test_a_formula_reaches_nothing_beyond_itself(tab: Visit, system: System) -> None:
    hostile = (
        r"$\href{javascript:alert(1)}{x}$ $\includegraphics{http://127.0.0.1:9/a.png}$ $\style{position:fixed}{y}$ $z$ "
    )
    answer = await shown(tab, system, hostile + r"$\rule{9999em}{9999em}$")
    await expect(answer.locator("math").last).to_be_attached()
    await expect(answer.locator("a, img, [href], [src]")).to_have_count(0)
    assert await tab.overflow() == 0


async def test_what_is_a_formula_is_told_by_its_signs(tab: Visit) -> None:
    await tab.open()
    assert await tab.page.evaluate(OF, [text for text, _ in LEXED]) == [formulas for _, formulas in LEXED]
