"""Who was right where the large model disputes what two small ones say: labels in a JSONL file beside the answers, one
line each.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from lab.collecting import whole_lines
from lab.disputes.asked import Compared
from lab.training.errors import StoreError

Label = Literal["left", "right", "both", "neither"]
"""left: the answer of the two is right; right: the large model's. Only `right` is a loss."""
LABELS: tuple[Label, ...] = get_args(Label)


@dataclass(frozen=True)
class Labels:
    """Beside the answers `file`. The last line of a dispute counts, while its answers are the same."""

    file: Path

    @property
    def path(self) -> Path:
        return self.file.with_suffix(".disputes.jsonl")

    def read(self) -> dict[str, Label]:
        """By the digest of request and answers. Raises StoreError."""
        try:
            lines = [json.loads(line) for line in whole_lines(self.path)]
            found = {line["digest"]: line["label"] for line in lines}
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{self.path} holds no labels of disputes: {error}") from error
        if unknown := [label for label in found.values() if label not in LABELS]:
            raise StoreError(f"{self.path}: {unknown[0]!r} is none of {', '.join(LABELS)}")
        return found

    def add(self, dispute: Compared, label: Label) -> None:
        line = {
            "id": dispute.asked.id,
            "digest": dispute.digest,
            "label": label,
            "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        }
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def disputes_of(compared: Sequence[Compared]) -> list[Compared]:
    """In an order of chance, so that the first ones are a sample of all."""
    return sorted((each for each in compared if each.disputed), key=lambda each: each.digest)
