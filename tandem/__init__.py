"""Tandem for its users: `Client`, `AsyncClient`, and the command line."""

from tandem.client import AsyncClient, Client
from tandem.errors import RequestError
from tandem.results import to_dict

__all__ = ["AsyncClient", "Client", "RequestError", "to_dict"]
