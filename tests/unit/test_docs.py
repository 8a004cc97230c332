"""What the documents name exists: files, anchors, make targets, commands, alerts, decisions, proto messages."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from types import ModuleType

import click
import pytest
import typer.main
import yaml

from tandem.cli import app
from tandem.method.timeouts import Timeouts

ROOT = Path(__file__).parents[2]
TOP = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "helm/README.md")
# Pages that docs/hooks.py makes; the site's own strict build (`make docs`) checks links to them.
MADE = {f"docs/{page}.md" for page in ("index", "api/grpc", "api/python", "chart-values", "changelog", "contributing")}
DOCUMENTS = [*TOP, *sorted(str(f.relative_to(ROOT)) for f in (ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_FOLDERS = "deploy|docs|examples|helm|lab|protos|services|tandem|tests|workflows"
# Documents that are not in the repository, by the names under which they were cited.
_FOREIGN = re.compile(
    r"\bMETHOD(?: \d|\b(?!\.md)(?=[:;,) ]))|\bDESIGN\.md|\bENGINEERING\.md|\bSTYLE\.md|\bCONVENTIONS\.md"
)


def prose(document: str) -> str:
    return _FENCE.sub("", (ROOT / document).read_text())


def links(document: str) -> Iterator[tuple[str, str]]:
    """(path, anchor) of each relative link."""
    for target in _LINK.findall(prose(document)):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield path, anchor


@cache
def anchors(file: Path) -> set[str]:
    """GitHub's anchors of a file's headings, which MkDocs' agree with for the characters that we use."""
    found = re.findall(r"^#{1,6} (.+)$", _FENCE.sub("", file.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


@cache
def make_targets() -> set[str]:
    """With those of the rule `bench-%`, which runs a module."""
    benches = (path for path in (ROOT / "lab" / "bench").glob("*.py") if "\ndef main(" in path.read_text())
    named = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return {*named, *(f"bench-{path.stem}" for path in benches)}


def commands(group: click.Command, prefix: str = "") -> Iterator[str]:
    for name, command in getattr(group, "commands", {}).items():
        yield f"{prefix}{name}"
        yield from commands(command, f"{prefix}{name} ")


def generator(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_relative_link_leads_somewhere(document: str) -> None:
    for path, anchor in links(document):
        target = (ROOT / document).parent / path if path else ROOT / document
        if path and str(target.resolve().relative_to(ROOT)) in MADE:
            continue
        assert target.exists(), f"{document}: {path}"
        if anchor:
            assert anchor in anchors(target.resolve()), f"{document}: {path}#{anchor}"


# The changelog tells of targets and commands that are gone, and `make x @commit` is a target of that commit.
@pytest.mark.parametrize("document", [document for document in DOCUMENTS if document != "CHANGELOG.md"])
def test_every_make_target_exists(document: str) -> None:
    for text in code_of(document):
        for target in re.findall(r"(?:^|[`\s])make (?![a-z0-9-]+ @[0-9a-f]{8}`)([a-z0-9-]+)", text):
            assert target in make_targets(), f"{document}: make {target}"


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if document != "CHANGELOG.md"])
def test_every_command_exists(document: str) -> None:
    known = set(commands(typer.main.get_command(app)))
    for text in code_of(document):
        for verb, sub in re.findall(r"(?:^|[\n`$] ?)tandem ([a-z]+(?:-[a-z]+)*)(?: ([a-z]+)\b(?![./:]))?", text):
            assert verb in known, f"{document}: tandem {verb}"
            if any(name.startswith(f"{verb} ") for name in known) and sub:
                assert f"{verb} {sub}" in known, f"{document}: tandem {verb} {sub}"


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if document != "CHANGELOG.md"])
def test_every_path_and_module_exists(document: str) -> None:
    """In inline code: `services/models/engine/api.py`, `services.gateway`, `tandem.method.cost.cost`."""
    for code in re.findall(r"`([^`\n]+)`", _FENCE.sub("", (ROOT / document).read_text())):
        if re.fullmatch(rf"(?:{_FOLDERS})/[\w./-]+", code):
            assert (ROOT / code).exists(), f"{document}: {code}"
        if re.fullmatch(r"(?:tandem\.method|services|workflows|lab)(?:\.\w+)+", code):
            path = ROOT / code.replace(".", "/")
            assert path.is_dir() or path.with_suffix(".py").is_file(), f"{document}: {code}"


def code_of(document: str) -> list[str]:
    """Fenced blocks and inline code."""
    text = (ROOT / document).read_text()
    return [*_FENCE.findall(text), *(f"`{code}`" for code in re.findall(r"`([^`\n]+)`", _FENCE.sub("", text)))]


def test_every_alert_leads_to_its_entry_in_the_runbook() -> None:
    rules = yaml.safe_load((ROOT / "deploy/alerts/tandem.yaml").read_text())
    links = {r["alert"]: r["annotations"]["runbook_url"] for group in rules["groups"] for r in group["rules"]}
    assert links == {alert: f"docs/operate.md#{alert.lower()}" for alert in links}
    assert {alert.lower() for alert in links} <= anchors(ROOT / "docs/operate.md")


def test_every_stop_reason_is_in_the_glossary() -> None:
    reasons = re.findall(r"STOP_REASON_(\w+) = [1-9]", (ROOT / "protos/tandem/v1/tandem.proto").read_text())
    text = (ROOT / "docs/glossary.md").read_text()
    assert [reason for reason in reasons if f"| `{reason.lower()}` |" not in text] == []


def test_a_decision_has_a_number_of_its_own_and_is_listed_with_its_title() -> None:
    index = (ROOT / "docs/decisions/index.md").read_text()
    rows = re.findall(r"^- (\d+): \[(.+?)\]\((0\d+-[a-z0-9-]+\.md)\)$", index, re.MULTILINE)
    files = sorted(f.name for f in (ROOT / "docs/decisions").glob("0*.md"))
    assert [name for _, _, name in rows] == files
    assert len({number for number, *_ in rows}) == len(rows)
    for number, title, name in rows:
        text = (ROOT / "docs/decisions" / name).read_text()
        assert int(name[:4]) == int(number)
        assert text.startswith(f"# {number}. {title}\n"), name
        assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == ["Context", "Choice", "Consequence"], name


def test_every_decision_that_code_and_documents_cite_by_its_number_exists() -> None:
    """The changelog tells of those that are gone."""
    known = {int(file.name[:4]) for file in (ROOT / "docs/decisions").glob("0*.md")}
    texts = [name for name in tracked_texts() if name != "CHANGELOG.md"]
    cited = {name: set(re.findall(r"\b[Dd]ecision\s(\d+)", (ROOT / name).read_text())) for name in texts}
    assert {name: gone for name, found in cited.items() if (gone := {n for n in found if int(n) not in known})} == {}


@cache
def navigation() -> dict[str, list[str]]:
    """The pages of each part of the site, by the part's title, in their order."""
    text = (ROOT / "mkdocs.yml").read_text()
    return {
        title: list(pages(below))
        for part in yaml.safe_load(text[text.index("\nnav:") :])["nav"]
        for title, below in part.items()
    }


def pages(below: object) -> Iterator[str]:
    if isinstance(below, str):
        yield below
    elif isinstance(below, list):
        for item in below:
            yield from pages(item)
    elif isinstance(below, dict):
        for item in below.values():
            yield from pages(item)


def test_every_page_is_in_the_navigation_once_and_every_decision_in_its_index() -> None:
    listed = [f"docs/{page}" for part in navigation().values() for page in part]
    own = {document for document in DOCUMENTS if document.startswith("docs/") and "/decisions/0" not in document}
    assert sorted(listed) == sorted(own | MADE)


def test_the_method_has_the_sections_that_code_cites() -> None:
    expected = {
        "stages", "hand-off", "features", "scorer", "stop-rule", "cost", "answers", "grading",
    }  # fmt: skip
    assert expected <= anchors(ROOT / "docs/method.md")


def test_each_type_of_the_request_walk_is_defined_where_the_page_says() -> None:
    rows = re.findall(r"^\| \d \| (.+?) \| (.+?) \|", (ROOT / "docs/request-walk.md").read_text(), re.MULTILINE)
    assert rows
    for types, places in rows:
        roots = [ROOT / place.replace(".", "/") for place in re.findall(r"`((?:tandem|services)\.[\w.]+)`", places)]
        code = "\n".join(file.read_text() for root in roots for file in root.glob("*.py"))
        named = re.findall(r"`(\w+)`", types)
        assert [name for name in named if not re.search(rf"^class {name}\b", code, re.MULTILINE)] == [], places


def test_the_page_of_the_architecture_has_the_timeouts_of_the_class() -> None:
    section = (ROOT / "docs/architecture.md").read_text().partition("## Timeouts")[2].partition("\n## ")[0]
    units = {"s": 1, "min": 60}
    told = {
        float(n) * units[u]
        for row in re.findall(r"^\|.*\| (.+) \|$", section, re.MULTILINE)
        for n, u in re.findall(r"(\d+) (s|min)", row)
    }
    own = {value.total_seconds() for name, value in vars(Timeouts).items() if isinstance(value, timedelta)}
    assert told - own == set()


def test_the_grpc_page_has_every_message_and_its_comments() -> None:
    page = generator("gen_grpc").render(generator("gen_grpc").parse())
    for file in (ROOT / "protos/tandem/v1").glob("*.proto"):
        for name in re.findall(r"^(?:message|enum) (\w+)", file.read_text(), re.MULTILINE):
            assert f"### {name}\n" in page, name
    assert "W3C trace id, 32 hexadecimal digits." in page
    for target in re.findall(r"\]\(#(\w+)\)", page):
        assert re.search(rf"^### {target}$", page, re.MULTILINE | re.IGNORECASE), target


def test_the_readme_has_both_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert "make run" in text
    assert "make test" in text


def tracked_texts() -> list[str]:
    """All but this file, which has the patterns that are looked for."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    suffixes = {".py", ".md", ".toml", ".proto", ".yaml", ".sh", ".tpl", ".lua"}
    texts = [name for name in tracked if Path(name).suffix in suffixes and name != "tests/unit/test_docs.py"]
    return [name for name in texts if (ROOT / name).is_file()]


def test_nothing_cites_a_document_that_is_not_in_the_repository() -> None:
    assert [name for name in tracked_texts() if _FOREIGN.search((ROOT / name).read_text())] == []


def test_the_page_of_settings_says_what_each_variable_means() -> None:
    settings = generator("gen_settings")
    page = settings.PAGE.read_text()
    assert page == settings.render(), "run `make tables`"
    for _, _, kind in settings.PROCESSES:
        for field in settings.own_fields(kind).values():
            assert field.description, settings.names(field)
            assert all(f"`{name}`" in page for name in settings.names(field))
