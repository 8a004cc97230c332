"""Files of Hugging Face's hub, by HTTP ranges: the hub's own client starts a file from the beginning in each
process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tandem.local.catalogue import ModelError

_CONNECT_SECONDS, _READ_SECONDS = 5.0, 30.0
_RECONNECTS = 5
_RECONNECT_SECONDS = 1.0

Progress = Callable[[str, int, int], None]
"""(step, done, total): bytes while downloading and verifying, else parts."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """`size` bytes of a file from its beginning; not `is_whole`: the file has more."""

    repository: str
    revision: str
    path: str
    size: int
    is_whole: bool = True


def fetch(file: HubFile, target: Path, progress: Progress) -> None:
    """Download `file` to `target`, from where an earlier attempt ended (`target` with `.incomplete`). Raises
    ModelError.
    """
    import httpx

    partial = target.with_name(f"{target.name}.incomplete")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial.touch()
    for remaining in reversed(range(_RECONNECTS)):
        try:
            if partial.stat().st_size < file.size:
                _append(file, partial, progress)
            break
        except httpx.HTTPStatusError as error:
            raise ModelError(f"{error.request.url} answers {error.response.status_code}") from error
        except httpx.TransportError as error:
            if not remaining:
                raise ModelError(f"the connection was lost ({type(error).__name__})") from error
            time.sleep(_RECONNECT_SECONDS)
    partial.rename(target)


def require_hub() -> None:
    """Raises ModelError at once when the hub cannot be reached; its own client would retry for half a minute."""
    import httpx
    from huggingface_hub.constants import ENDPOINT

    try:
        httpx.head(ENDPOINT, timeout=_CONNECT_SECONDS)
    except httpx.HTTPError as error:
        raise ModelError(f"{ENDPOINT} cannot be reached ({error})") from error


def _append(file: HubFile, partial: Path, progress: Progress) -> None:
    """Download what `partial` lacks. Raises httpx.HTTPStatusError, httpx.TransportError."""
    import httpx
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    done = partial.stat().st_size
    url = hf_hub_url(file.repository, file.path, revision=file.revision)
    wanted = f"bytes={done}-" if file.is_whole else f"bytes={done}-{file.size - 1}"
    headers = {**build_hf_headers(), "Accept-Encoding": "identity", "Range": wanted}
    timeout = httpx.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS)
    with (
        httpx.stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True) as reply,
        partial.open("ab") as stream,
    ):
        reply.raise_for_status()
        if reply.status_code != httpx.codes.PARTIAL_CONTENT:  # the server sends the whole file
            stream.truncate(0)
            done = 0
        for block in reply.iter_raw():  # as received: a chunk size would buffer, and lose what is buffered
            stream.write(block)
            done += len(block)
            progress("downloading", done, file.size)
            if done >= file.size and not file.is_whole:  # a server that does not know ranges
                stream.truncate(file.size)
                break
