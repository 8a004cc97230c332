"""The check `json_schema`: the answer is JSON that its schema allows."""

from __future__ import annotations

import json
from typing import Any

from jsonschema.exceptions import SchemaError, ValidationError, best_match
from jsonschema.validators import validator_for
from referencing.jsonschema import EMPTY_REGISTRY

from services.checks.api import Check, Compared, failed, passed
from tandem.method.answer import last_block


def validate_schema(argument: str) -> None:
    """Raises ValueError. May take a second, and minutes where an old draft compares all values in pairs."""
    try:
        schema = json.loads(argument)
        validator_for(schema).check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"no JSON schema: {error.message} at {error.json_path}") from None
    except (ValueError, RecursionError, AttributeError) as error:
        raise ValueError(f"no JSON schema: {error}") from None


def _applies(question: str, argument: str) -> bool:
    return bool(argument.strip())


def _compare(question: str, answer: str, argument: str) -> Compared:
    try:
        value = json.loads(last_block(answer))
    except (ValueError, RecursionError) as error:
        return failed(f"the answer is not JSON: {error}")
    wrong = _worst_error(json.loads(argument), value)
    return failed(f"{wrong.message[:500]}, at {wrong.json_path}") if wrong else passed()


def _worst_error(schema: Any, value: Any) -> ValidationError | None:
    # A registry without retrieval: a reference to another host is refused, not fetched.
    validator = validator_for(schema)(schema, registry=EMPTY_REGISTRY)
    found: ValidationError | None = best_match(validator.iter_errors(value))
    return found


JSON_SCHEMA = Check("json_schema", _compare, validate_schema, _applies)
