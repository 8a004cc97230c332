from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tandem.cli import app
from tandem.endpoints import price_list
from tandem.endpoints.price_list import SHIPPED, ListPrice, PriceListError, download, read, write
from tandem.errors import UserError

GIVEN = {
    "sample_spec": {"mode": "one of: chat, ...", "litellm_provider": "openai", "input_cost_per_token": 0.0},
    "m-1": {
        "mode": "chat", "litellm_provider": "openai", "input_cost_per_token": 1.5e-07, "output_cost_per_token": 6e-07,
        "cache_read_input_token_cost": 7.5e-08, "max_input_tokens": 128000, "max_output_tokens": 16384,
    },
    "groq/m-2": {"mode": "chat", "litellm_provider": "groq", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06},
    "m-3": {"mode": "embedding", "litellm_provider": "openai", "input_cost_per_token": 1e-06, "output_cost_per_token": 0.0},
    "m-4": {"mode": "chat", "litellm_provider": "openai", "input_cost_per_token": 1e-06},
    "bedrock/m-5": {"mode": "chat", "litellm_provider": "bedrock", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06},
}  # fmt: skip
FIRST = ListPrice("m-1", "openai", 0.15, 0.6, 0.075, None, None, 128000, 16384)


@pytest.fixture
def source(tmp_path: Path) -> str:
    file = tmp_path / "prices.json"
    file.write_text(json.dumps(GIVEN))
    return file.as_uri()


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(price_list, "config_folder", lambda: tmp_path / "config")
    price_list.price_list.cache_clear()
    yield tmp_path / "config"
    price_list.price_list.cache_clear()


def test_a_downloaded_list_has_chat_models_with_both_prices_per_million_tokens(source: str) -> None:
    assert download(source).prices == {"m-1": FIRST, "groq/m-2": ListPrice("groq/m-2", "groq", 1.0, 2.0)}


def test_a_list_that_was_written_is_read_as_it_was(source: str, tmp_path: Path) -> None:
    prices = download(source)
    write(prices, tmp_path / "list.csv", source)
    assert read(tmp_path / "list.csv") == prices


def test_a_model_is_found_by_its_vendors_name_and_no_vendor_has_anothers(source: str) -> None:
    prices = download(source)
    assert prices.find("m-2", "groq") == prices.find("groq/m-2")
    assert prices.find("m-1", "openai") == FIRST
    assert prices.find("m-1", "groq") is None
    assert prices.find("m-9", "openai") is None


def test_the_shipped_list_names_its_source_and_licence_and_knows_models_of_each_kind() -> None:
    assert "MIT licence, Copyright (c) 2023 Berri AI" in SHIPPED.read_text().splitlines()[0]
    assert "Permission is hereby granted" in SHIPPED.with_suffix(".LICENSE").read_text()
    prices = read(SHIPPED)
    assert {
        prices.find(name, vendor) is None
        for name, vendor in (("gpt-4o-mini", "openai"), ("claude-haiku-4-5", "anthropic"))
    } == {False}
    assert all(price.input >= 0 and price.output >= 0 for price in prices.prices.values())


def test_a_source_that_is_no_list_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "none.json").write_text("[]")
    for source in ((tmp_path / "none.json").as_uri(), (tmp_path / "missing").as_uri()):
        with pytest.raises(PriceListError, match="cannot be had"):
            download(source)


def test_an_update_is_used_from_then_on(source: str, own_folder: Path) -> None:
    shown = CliRunner().invoke(app, ["prices", "m-1", "--update", "--from", source, "--json"])
    assert json.loads(shown.output)["prices"][0]["input"] == 0.15
    assert (own_folder / "price_list.csv").is_file()
    assert price_list.price_list().find("m-1") == FIRST


def test_a_model_without_a_price_is_said_and_fails() -> None:
    shown = CliRunner().invoke(app, ["prices", "qwen-of-my-own"])
    assert isinstance(shown.exception, UserError)
    assert "cost null, not 0" in str(shown.exception)
