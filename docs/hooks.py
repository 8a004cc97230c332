"""MkDocs hooks: pages that are made from other files of the repository, and links that lead out of docs/."""

from __future__ import annotations

import re
import sys
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))
import gen_grpc
import gen_values

ROOT = Path(__file__).resolve().parents[1]
# Files of the repository that are pages of the site too, under these names.
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md#report-a-vulnerability",
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "helm/README.md": "chart-values.md",
}
COPIED = ("CHANGELOG.md", "CONTRIBUTING.md", "README.md", "helm/README.md")
# The public Python modules, in the order of the page; the method's are found by themselves.
CLIENT = (
    *("tandem.client.clients", "tandem.client.unary_calls", "tandem.client.batches", "tandem.client.request"),
    *("tandem.client.events", "tandem.client.results", "tandem.client.tools", "tandem.errors"),
)
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    made = {"api/grpc.md": gen_grpc.render(gen_grpc.parse()), "api/python.md": python_page()}
    for source in COPIED:
        made[PAGES[source]] = _rewritten(
            (ROOT / source).read_text(), PurePosixPath(source).parent, PurePosixPath("docs")
        )
    made[PAGES["helm/README.md"]] += gen_values.render()
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """On GitHub a link to a file outside docs/ works; on the site it leads to the page made from it, or is text."""
    folder = PurePosixPath("docs") / PurePosixPath(page.file.src_uri).parent
    return _rewritten(markdown, folder, folder)


def python_page() -> str:
    rooms = [
        ROOT / "tandem" / "method",
        *sorted(file.parent for file in (ROOT / "tandem" / "method").glob("*/__init__.py")),
    ]
    files = [file for room in rooms for file in sorted(room.glob("*.py")) if file.stem != "__init__"]
    lines = [
        "# Python API",
        "",
        "`tandem` is the client: `from tandem import Client, AsyncClient`. `tandem.method` is the method itself: "
        "pure functions",
        "and dataclasses that know neither gRPC nor Redis nor Temporal. Made from the docstrings.",
        "",
    ]
    for module in [*CLIENT, *(".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files)]:
        lines += [f"## {module}", "", f"::: {module}", ""]
    return "\n".join(lines)


def _rewritten(markdown: str, source: PurePosixPath, page: PurePosixPath) -> str:
    """Links of a text that stands in `source`, for a page in `page`; both are folders of the repository."""

    def replace(match: re.Match[str]) -> str:
        text, target = match["text"], match["target"]
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        path, _, anchor = target.partition("#")
        there = normpath(str(source / path))
        if there in PAGES:
            there, _, own = f"docs/{PAGES[there]}".partition("#")
            anchor = anchor or own
        elif not there.startswith("docs/"):
            return text
        ups = len(page.parts) - 1
        inside = PurePosixPath(there).relative_to("docs")
        return f"[{text}]({'../' * ups}{inside}{'#' + anchor if anchor else ''})"

    parts = re.split(r"(```.*?```)", markdown, flags=re.DOTALL)
    return "".join(part if part.startswith("```") else _LINK.sub(replace, part) for part in parts)
