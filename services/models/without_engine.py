"""What the gateway, where no engine runs, asks of an engine's code: how many tokens a question has, and whether a
schema can be held.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tokenizers import Tokenizer

from services.models.engine.api import InvalidSchema, QueueFull
from services.models.engine.schema_findings import findings
from services.models.engine.tokenizer import keep_no_words
from services.models.engine.tool_grammar import GENERIC, tool_grammar
from services.shared.process.status import from_engine
from tandem.errors import SetupError
from tandem.method.errors import InvalidArgument
from tandem.method.profile.profile import Model
from tandem.method.tools import ToolUse

_BYTES_PER_TOKEN = 3  # of dense text, such as code: limits and bounds of bills must not be too low


async def check_schema(text: str) -> None:
    """Raises InvalidArgument, naming `json_schema`, where no text can be held to `text`: it is no JSON schema, has a
    keyword that cannot be held, or is too costly. Raises ResourceExhausted where too many others are tried.
    """
    try:
        await findings().num_bytes(text)
    except (InvalidSchema, QueueFull) as error:
        raise from_engine(error) or error from error


async def check_tool_schemas(use: ToolUse, json_schema: str = "") -> None:
    """The same for tools, of which each call is held to a schema, together with that of an answer without calls: names
    `tools`.
    """
    try:
        await findings().num_bytes(tool_grammar(GENERIC, use, json_schema))
    except InvalidSchema as error:
        raise InvalidArgument(str(error), field="tools", reason=error.reason) from error
    except QueueFull as error:
        raise from_engine(error) or error from error


def token_counter(models_folder: Path, model: Model) -> Callable[[str], int]:
    """Counts tokens with the model's tokenizer, or estimates them from above for a model that others run.

    Raises SetupError when the model's files are not there.
    """
    if model.api is not None:
        return lambda text: -(-len(text.encode()) // _BYTES_PER_TOKEN)
    file = models_folder / model.name / "tokenizer.json"
    if not file.is_file():
        raise SetupError(f"{file} is missing; `tandem models pull` gets it")
    tokenizer = Tokenizer.from_file(str(file))
    keep_no_words(tokenizer)
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
