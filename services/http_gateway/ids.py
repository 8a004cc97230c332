"""`{request_id:id}` in a route: an id, or another tenant's as an admin writes it, `TENANT/ID`.

The slash may come as `%2F`, which the server decodes before it looks for a route. `ID/content` is such a name as well: a route that
goes on after the id stands before the one that ends there.
"""

from __future__ import annotations

from starlette.convertors import StringConvertor, register_url_convertor


class IdConvertor(StringConvertor):
    regex = "[^/]+(?:/[^/]+)?"

    def to_string(self, value: str) -> str:
        return value


def register_ids() -> None:
    """Before the first route with `:id` is made."""
    register_url_convertor("id", IdConvertor())
