"""A model as people name it: `anthropic:MODEL`, `http://host:port/v1#MODEL`, `llamacpp:FILE.gguf`, `hf:REPOSITORY`.

A URL whose server speaks another protocol than OpenAI's has its name before it: `anthropic:http://host:port#MODEL`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tandem.endpoints.price_list import ListPrice, price_list
from tandem.errors import UserError
from tandem.method.problems import problems
from tandem.method.profile.endpoint import PROTOCOLS, Api


class AddressError(UserError):
    """A text names no model; the message says what does."""


@dataclass(frozen=True, slots=True)
class Vendor:
    """`listed`: the vendor's name in the price list. `url_variable`: what its own SDK reads another base address
    from.
    """

    url: str
    key: str
    listed: str = ""
    protocol: str = "openai"
    url_variable: str = ""


VENDORS = {
    "responses": Vendor(
        "https://api.openai.com/v1", "OPENAI_API_KEY", "openai", protocol="responses", url_variable="OPENAI_BASE_URL"
    ),
    "openai": Vendor("https://api.openai.com/v1", "OPENAI_API_KEY", url_variable="OPENAI_BASE_URL"),
    "anthropic": Vendor(
        "https://api.anthropic.com", "ANTHROPIC_API_KEY", protocol="anthropic", url_variable="ANTHROPIC_BASE_URL"
    ),
    "openrouter": Vendor("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "deepseek": Vendor("https://api.deepseek.com", "DEEPSEEK_API_KEY"),
    "groq": Vendor("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "mistral": Vendor("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "together": Vendor("https://api.together.xyz/v1", "TOGETHER_API_KEY", listed="together_ai"),
}
_FORMS = (
    "openai:MODEL, responses:MODEL, anthropic:MODEL, openrouter:MODEL, http://HOST:PORT/v1#MODEL, "
    "llamacpp:FILE.gguf or hf:REPOSITORY"
)


@dataclass(frozen=True, slots=True)
class Address:
    """One of `api`, `file` (a GGUF file) and `repository` (of Hugging Face) is set. `name` is the model's in profiles
    and bills.
    """

    name: str
    api: Api | None = None
    file: Path | None = None
    repository: str = ""
    vendor: str = ""

    @property
    def price(self) -> ListPrice | None:
        """The vendor's. None where nobody publishes one, as for a server of one's own."""
        if self.api is None or not self.vendor:
            return None
        vendor = VENDORS[self.vendor]
        return price_list().find(self.api.model, vendor.listed or self.vendor)


def parse(text: str, key: str = "") -> Address:
    """`key` names the variable or file of the key where it is not the vendor's usual one. Raises AddressError."""
    scheme, _, rest = text.partition(":")
    if scheme in ("http", "https"):
        return _of_url(text, key)
    if scheme in PROTOCOLS and rest.startswith(("http://", "https://")):
        return _of_url(rest, key, scheme)
    if not rest:
        raise AddressError(f"{text!r} names no model: give {_FORMS}")
    if scheme in VENDORS:
        vendor = VENDORS[scheme]
        url = os.environ.get(vendor.url_variable, "") if vendor.url_variable else ""
        return Address(_name(rest), _api(vendor.protocol, url or vendor.url, rest, key or vendor.key), vendor=scheme)
    if scheme == "llamacpp":
        file = Path(rest).expanduser().resolve()
        if file.suffix != ".gguf" or not file.is_file():
            raise AddressError(f"{rest} is no GGUF file")
        return Address(_name(file.stem), file=file)
    if scheme == "hf":
        return Address(_name(rest.rpartition("/")[2]), repository=rest)
    raise AddressError(f"{text!r}: {scheme!r} is no kind of endpoint: give {_FORMS}")


def _of_url(text: str, key: str, protocol: str = "") -> Address:
    url, _, model = text.partition("#")
    if not model:
        raise AddressError(f"{text!r} names no model: put it behind a #, as http://127.0.0.1:8000/v1#qwen2.5-coder-7b")
    host = urlsplit(url).hostname
    known = {urlsplit(vendor.url).hostname: name for name, vendor in VENDORS.items()}
    vendor = known.get(host, "")
    protocol = protocol or (VENDORS[vendor].protocol if vendor else "openai")
    return Address(
        _name(model), _api(protocol, url, model, key or (VENDORS[vendor].key if vendor else "")), vendor=vendor
    )


def _api(protocol: str, url: str, model: str, key: str) -> Api:
    try:
        return Api.model_validate({"protocol": protocol, "url": url, "model": model, "key": key})
    except ValueError as error:
        raise AddressError(f"{url}: {problems(error)}") from error


def _name(model: str) -> str:
    """Return a name for bills, metrics and folders."""
    return re.sub(r"[^a-z0-9._-]+", "-", model.lower()).strip("-")
