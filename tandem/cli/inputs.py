"""Texts that a command is given in a file or on standard input: UTF-8, whatever the locale says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import typer


def stdin_text(hint: str) -> str:
    """All of standard input. Raises BadParameter for the parameter `hint` where it is no text, or closed."""
    return _decoded(b"".join(_stdin(hint)), "standard input", hint)


def stdin_lines(hint: str) -> Iterator[str]:
    """Line by line, as they come. Raises BadParameter for the first that is no text."""
    for number, line in enumerate(_stdin(hint), 1):
        yield _decoded(line, f"line {number} of standard input", hint)


def file_text(file: Path, hint: str) -> str:
    """Raises BadParameter for the parameter `hint` where the file cannot be read, or is no text."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}", param_hint=hint) from None
    return _decoded(content, str(file), hint)


def _stdin(hint: str) -> Iterator[bytes]:
    if sys.stdin is None:
        raise typer.BadParameter("standard input is closed", param_hint=hint)
    return iter(sys.stdin.buffer)


def _decoded(content: bytes, what: str, hint: str) -> str:
    """Without the mark that some editors put before UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise typer.BadParameter(
            f"{what} is no text in UTF-8: byte 0x{content[error.start]:02x} at place {error.start + 1}. If it is Latin-1, "
            "`iconv -f latin1 -t utf-8` converts it",
            param_hint=hint,
        ) from None
