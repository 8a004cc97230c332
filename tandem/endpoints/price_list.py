"""What models cost at their vendors: LiteLLM's public price list, by model name. A dated copy is shipped, and the user
may download a newer one.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from tandem.errors import UserError
from tandem.paths import config_folder

SOURCE = "https://raw.githubusercontent.com/BerriAI/litellm/main/model_prices_and_context_window.json"
SHIPPED = Path(__file__).with_name("price_list.csv")
# Vendors that speak OpenAI's or Anthropic's protocol to anyone with a key; clouds that need more than a key are left
# out.
VENDORS = (
    "anthropic",
    "cerebras",
    "dashscope",
    "deepinfra",
    "deepseek",
    "fireworks_ai",
    "gemini",
    "groq",
    "mistral",
    "moonshot",
    "openai",
    "openrouter",
    "together_ai",
    "xai",
)
_AMOUNTS = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cached_input": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "cache_write_hour": "cache_creation_input_token_cost_above_1hr",
}
_MILLION = 1_000_000
_TIMEOUT_SECONDS = 30


class PriceListError(UserError):
    """The list cannot be downloaded or read; the message says why."""


@dataclass(frozen=True, slots=True)
class ListPrice:
    """USD per million tokens, and the model's limits in tokens; None where the list does not say. Prices by day, by
    context length and by batch are left out. `cache_write_hour`: of what a cache keeps for an hour.
    """

    model: str
    vendor: str
    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None
    cache_write_hour: float | None = None
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None


@dataclass(frozen=True)
class PriceList:
    """`version` names it on bills: `litellm-` and the day of the copy. `prices` by the list's own names."""

    version: str
    prices: Mapping[str, ListPrice]

    def find(self, model: str, vendor: str = "") -> ListPrice | None:
        """Find a model by its vendor's name. Without a vendor, by the list's own name. None: there is no price."""
        for name in (f"{vendor}/{model}", model) if vendor else (model,):
            found = self.prices.get(name)
            if found and vendor in ("", found.vendor):
                return found
        return None

    def like(self, text: str) -> list[ListPrice]:
        """Those whose name has the text in it."""
        return [price for name, price in self.prices.items() if text.lower() in name.lower()]


def own_file() -> Path:
    """Return the path of the user's own download."""
    return config_folder() / SHIPPED.name


@cache
def price_list() -> PriceList:
    """Return the user's download, where there is one, else the shipped copy. Raises PriceListError."""
    return read(own_file() if own_file().is_file() else SHIPPED)


def read(file: Path) -> PriceList:
    """Raises PriceListError."""
    try:
        first, *rows = file.read_text().splitlines()
        found = [_from_row(row) for row in csv.DictReader(rows)]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise PriceListError(f"{file} is no price list ({error}): `tandem prices --update` writes a new one") from error
    return PriceList(first.removeprefix("# ").split()[0], {price.model: price for price in found})


def download(source: str = SOURCE) -> PriceList:
    """Raises PriceListError."""
    try:
        with urlopen(source, timeout=_TIMEOUT_SECONDS) as reply:
            given = json.load(reply)
        prices = list(_of_litellm(given))
    except (URLError, OSError, ValueError, AttributeError, TypeError) as error:
        raise PriceListError(f"the price list at {source} cannot be had: {error}") from error
    if not prices:
        raise PriceListError(f"the list at {source} has no price of a chat model")
    return PriceList(f"litellm-{datetime.now(UTC):%Y-%m-%d}", {price.model: price for price in prices})


def write(prices: PriceList, file: Path, source: str = SOURCE) -> None:
    """A table of a line per model, below a line that says where it comes from."""
    text = io.StringIO()
    text.write(f"# {prices.version} from {source}; MIT licence, Copyright (c) 2023 Berri AI; USD per million tokens\n")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(field.name for field in fields(ListPrice))
    table.writerows(
        ["" if value is None else _shortest(value) for value in astuple(price)]
        for _, price in sorted(prices.prices.items())
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text.getvalue())


def _of_litellm(given: Mapping[str, Mapping[str, Any]]) -> Iterator[ListPrice]:
    for name, entry in given.items():
        if entry.get("mode") not in ("chat", "responses") or entry.get("litellm_provider") not in VENDORS:
            continue
        if "input_cost_per_token" not in entry or "output_cost_per_token" not in entry or name.startswith("ft:"):
            continue
        amounts = [_per_million(entry.get(name)) for name in _AMOUNTS.values()]
        limits = [_whole(entry.get(f"max_{kind}_tokens")) for kind in ("input", "output")]
        yield ListPrice(name, entry["litellm_provider"], *amounts, *limits)  # type: ignore[arg-type]


def _per_million(per_token: float | None) -> float | None:
    return None if per_token is None else round(float(per_token) * _MILLION, 6)


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) else None


def _shortest(value: Any) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _from_row(row: dict[str, str]) -> ListPrice:
    def of(kind: type[Any], names: Iterable[str]) -> list[Any]:
        return [kind(row[name]) if row.get(name) else None for name in names]  # an older download has fewer

    prices = of(float, _AMOUNTS)
    return ListPrice(row["model"], row["vendor"], *prices, *of(int, ("max_input_tokens", "max_output_tokens")))
