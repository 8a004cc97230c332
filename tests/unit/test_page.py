"""The page's files: what is not ours is what its list says, and nothing in them needs what the page's policy
refuses.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "services" / "http_gateway" / "assets"
VENDORED = [ASSETS / "vendor", ROOT / "tests" / "vendor"]
_ROW = re.compile(r"^\| (\S+) \|.*\((\S+\.txt)\) \| `([0-9a-f]{64})` \|$", re.MULTILINE)


@pytest.mark.parametrize("folder", VENDORED, ids=["page", "tests"])
def test_files_of_others_are_listed_with_licence_and_hash(folder: Path) -> None:
    listed = _ROW.findall((folder / "README.md").read_text())
    assert {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name, _, _ in listed} == {
        name: digest for name, _, digest in listed
    }
    licences = {folder / licence for _, licence, _ in listed}
    others = {file for file in folder.rglob("*") if file.is_file() and file.name != "README.md"}
    assert others == {folder / name for name, _, _ in listed} | licences


def test_our_files_have_no_inline_script_or_style_and_no_address_of_others() -> None:
    for file in [*ASSETS.glob("*.js"), *ASSETS.glob("*.css"), *ASSETS.glob("*.html")]:
        text = file.read_text()
        assert not re.search(r"https?://|\beval\(|new Function|innerHTML|dangerouslySetInnerHTML", text), file
        assert not re.search(r"<style|\sstyle=\"|<script(?![^>]*\bsrc=)", text), file


def test_no_script_of_ours_outgrows_a_readers_patience() -> None:
    assert [file for file in ASSETS.glob("*.js") if len(file.read_text().splitlines()) > 300] == []


def test_the_pictures_that_there_are_are_those_that_the_document_shows() -> None:
    shown = re.findall(r"\]\(page/([^)]+\.png)\)", (ROOT / "docs" / "page.md").read_text())
    assert sorted(shown) == sorted(file.name for file in (ROOT / "docs" / "page").iterdir())


def imported(file: Path) -> set[Path]:
    """What `file` needs before it runs, with what that needs."""
    found = {(file.parent / name).resolve() for name in re.findall(r'from\s*"(\./[^"]+)"', file.read_text())}
    return found.union(*map(imported, found))


def test_every_module_of_the_first_view_is_loaded_at_once() -> None:
    preloaded = re.findall(r'<link rel="modulepreload" href="/assets/([^"]+)">', (ASSETS / "index.html").read_text())
    assert {(ASSETS / name).resolve() for name in preloaded} == imported(ASSETS / "app.js")
