"""What becomes of each parameter of the three APIs: it is used, dropped as a hint, or refused by name.

A **hint** asks for the same answer otherwise: faster, cheaper, longer, filed under a name. Nobody here follows it, so
it is dropped and named. What would change what the answer means is **refused**. Where the large model writes the answer
and its API speaks the caller's protocol, that API gets the caller's own body, as far as tandem.openai.allowed lets it
pass. A parameter that is not in the table is a hint until its meaning says otherwise. docs/openai-parameters.md shows
the tables (`make tables`); the readers of bodies (tandem.openai.body) act by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal


class RefusedParameter(Exception):
    """A parameter that cannot be honoured; `param` names it as OpenAI's errors do."""

    def __init__(self, param: str, message: str, code: str = "unsupported_parameter") -> None:
        super().__init__(message)
        self.param, self.code = param, code


@dataclass(frozen=True, slots=True)
class Parameter:
    """`nothing`: values that ask for nothing, as null does. Its name is a path: `[]` is each item of a list, `[type=x]`
    one of that type, `[type=*]` of any other. `unless_passed`: what is refused passes to an API of the same protocol.
    `is_told`: an API of another protocol is told the same in its own words.
    """

    kind: Literal["used", "hint", "refused"]
    about: str
    nothing: tuple[Any, ...] = ()
    unless_passed: bool = False
    is_told: bool = False

    def asks_nothing(self, value: Any) -> bool:
        return any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in self.nothing)


Table = Mapping[str, Parameter]


def _used(about: str) -> Parameter:
    return Parameter("used", about)


def _hint(about: str, *nothing: Any) -> Parameter:
    return Parameter("hint", about, nothing)


def _refused(about: str, *nothing: Any) -> Parameter:
    return Parameter("refused", about, nothing)


def _unless_passed(known: Parameter) -> Parameter:
    return replace(known, unless_passed=True)


_MODEL = _used(
    "a profile, `profile@0.6` with the threshold at which a stage suffices, or one of its models, as `profile/large` "
    "or `profile/slm`"
)
_STREAM = _used("server-sent events")
_CAP = _used("cap of the answer's tokens, where it is below the profile's")
_STATELESS = "this process keeps no state: send the whole conversation"
_LENGTH = _hint("the stop rule decides how much the large model writes")
_EFFORT = Parameter(
    "hint",
    "models behind APIs are told it in their protocol's words, `reasoning_effort` or `output_config.effort` (`minimal` "
    "becomes `low` there, `max` here `xhigh`; `none` is not said), where they take it; a model that runs here has none",
    is_told=True,
)
_CACHE = _hint("what has the same beginning is found without it")
_NOT_CUT = "nothing is cut: a conversation that is too long is refused"
_TIERS = "there are no tiers"
_SEARCH = _hint("nothing is searched here: the model answers without it")
_SERVERS_TOOL = _hint("a tool that the API's own servers run: it is not offered to the models")
_CALLERS_TOOL = _hint("the caller's own tool, which is no function: it is not offered to the models")
_TEXT_ONLY = "the models here read text alone"
_CITED = "what a text of an earlier reply cites is not read again"
_LOGPROBS = "two models write the answer"
_TOOLS = _used(
    "functions that the answer may call, at most 128; `strict`: a schema that no text can be held to in full is "
    "refused, else it is held as far as possible"
)
_BOUND = _hint(
    "a bound above 10,000, as in `maxLength`, is left out of the schema; a `strict` tool with one is refused"
)
_CHOICE = _used("`auto`, `none`, `required`, a function's name, or `allowed_tools`")
_USER = _used(
    "the attribute `enduser.id` of the request's span, exported with `TANDEM_TELEMETRY_TEXT=true` only; the tenant "
    "comes from the credential"
)
_METADATA = _used(
    "at most 16 texts, repeated in the reply; attributes of the request's span, exported with "
    "`TANDEM_TELEMETRY_TEXT=true` only"
)
_OWN = _used("Tandem's own options, see below")
_SHAPES = _refused("not supported by every engine: use `response_format`")

_BOTH: Table = {
    "service_tier": _hint(_TIERS, "auto", "default"),
    "moderation": _refused("nothing is moderated"),
    "prompt_cache_key": _CACHE,
    "prompt_cache_options": _CACHE,
    "prompt_cache_retention": _CACHE,
    "safety_identifier": _hint("use `user`"),
}
"""Of chat completions and responses."""

CHAT: Table = {
    "model": _MODEL,
    "messages": _used(
        "text of system, developer, user, assistant and tool, and the assistant's `tool_calls`; system messages at "
        "the beginning are joined, later ones are read as the user's; the last one is the user's or a tool's"
    ),
    "stream": _STREAM,
    "stream_options": _used("`include_usage` adds a last chunk with the usage"),
    "max_tokens": _used("the older name of `max_completion_tokens`"),
    "max_completion_tokens": _CAP,
    "temperature": _used("0 to 2, in both models; not given: an API draws as it likes, any other model is greedy"),
    "top_p": _used("above 0, at most 1, in both models"),
    "seed": _used("seed of the draw, from 0"),
    "stop": _used("a text, or at most 4, each of 1 to 64 characters: the answer ends before the first of them"),
    "response_format": _used(
        "`text`, `json_object` or `json_schema`: both models are held to it; with `tools` an answer that calls none is"
    ),
    "tools": _TOOLS,
    "tool_choice": _CHOICE,
    "parallel_tool_calls": _used("false: one call at most"),
    "user": _USER,
    "metadata": _METADATA,
    "tandem": _OWN,
    "n": _refused("one answer per request", 1),
    "logprobs": _refused(_LOGPROBS, False),
    "top_logprobs": _refused(_LOGPROBS, 0),
    "logit_bias": _unless_passed(_refused("not supported by every engine", {})),
    "functions": _refused("use `tools`", []),
    "function_call": _refused("use `tool_choice`", "none", "auto"),
    "modalities": _refused("text only", ["text"]),
    "audio": _refused("text only"),
    **_BOTH,
    "presence_penalty": _hint("not followed by every engine", 0),
    "frequency_penalty": _hint("not followed by every engine", 0),
    "reasoning_effort": _EFFORT,
    "verbosity": _hint("say it in a message"),
    "prediction": _hint("it would make an answer faster"),
    "store": _hint("nothing is kept beyond the request's own record", False),
    "web_search_options": _SEARCH,
    "chat_template_kwargs": _hint("a profile has its models' templates"),
    "messages[].name": _hint("who speaks is said by the role"),
    "messages[].reasoning_content": _hint("what a model thought in an earlier turn is not read again"),
    "messages[].content[].cache_control": _CACHE,
    "messages[].content[type=*]": _unless_passed(_refused(_TEXT_ONLY)),
    "messages[].tool_calls[].index": _hint("the order says it"),
    "messages[].tool_calls[].function.arguments": _hint(
        "arguments that are no JSON object are passed as the text of one"
    ),
    "messages[].function_call": _refused("use `tool_calls`"),
    "messages[].audio": _refused("text only"),
    "tools[].function.parameters": _BOUND,
    "tools[type=custom]": _CALLERS_TOOL,
    **dict.fromkeys(
        (
            "guided_json",
            "guided_regex",
            "guided_choice",
            "guided_grammar",
            "structured_outputs",
            "grammar",
            "json_schema",
        ),
        _SHAPES,
    ),
    "stop_sequences": _refused("use `stop`", []),
    **dict.fromkeys(("best_of", "echo", "suffix"), _refused("there is one answer, which is new text")),
}

RESPONSES: Table = {
    "model": _MODEL,
    "input": _used(
        "a text, or messages of text, with items `function_call` and `function_call_output`; the last one is the "
        "user's or an output"
    ),
    "instructions": _used("the system message before the input"),
    "stream": _STREAM,
    "max_output_tokens": _CAP,
    "temperature": CHAT["temperature"],
    "top_p": CHAT["top_p"],
    "text": _used("`format`: " + CHAT["response_format"].about),
    "tools": _used(
        _TOOLS.about + "; those of a `namespace` are offered as `namespace__name`, and their calls name both again"
    ),
    "tool_choice": _CHOICE,
    "parallel_tool_calls": CHAT["parallel_tool_calls"],
    "reasoning": _used("its fields are hints"),
    "user": _USER,
    "metadata": _METADATA,
    "tandem": _OWN,
    "previous_response_id": _refused(_STATELESS),
    "conversation": _refused(_STATELESS),
    "background": _refused("use the gRPC API, or `tandem.keep_running`", False),
    "background_options": _refused("use the gRPC API, or `tandem.keep_running`"),
    "prompt": _refused("there are no stored prompts"),
    "image": _refused("text only"),
    "top_logprobs": _refused(_LOGPROBS, 0),
    "stop": _refused("answers of this API end by themselves: use chat completions", []),
    "max_tokens": _refused("use `max_output_tokens`"),
    **_BOTH,
    "reasoning.effort": _EFFORT,
    "reasoning.summary": _hint("what the large model wrote is the reasoning"),
    "text.verbosity": _hint("say it in a message"),
    "include": _hint("there is nothing more to include", []),
    "store": CHAT["store"],
    "max_tool_calls": _hint("nothing is called here: the caller runs its tools"),
    "access_programs": _hint("nothing is called here: the caller runs its tools"),
    "stream_options": _hint("events are sent as they are"),
    "truncation": _hint(_NOT_CUT, "disabled"),
    "context_management": _hint(_NOT_CUT),
    "client_metadata": _hint("it is the client's own"),
    "input[].content[type=*]": _unless_passed(_refused(_TEXT_ONLY)),
    "input[].output[type=*]": _unless_passed(_refused(_TEXT_ONLY)),
    "input[].content[].annotations": _hint(_CITED, []),
    "input[].content[].logprobs": _hint("how sure a model was of an earlier text is not read again", []),
    "input[type=item_reference]": _refused(_STATELESS),
    "input[type=*]": _unless_passed(
        _refused("calls of tools that are no functions, and their results, are not read here")
    ),
    "input[type=reasoning]": CHAT["messages[].reasoning_content"],
    "input[].arguments": CHAT["messages[].tool_calls[].function.arguments"],
    "tools[].parameters": _BOUND,
    "tools[type=web_search]": _SERVERS_TOOL,
    "tools[type=custom]": _CALLERS_TOOL,
}

MESSAGES: Table = {
    "model": _MODEL,
    "messages": _used(
        "text, `tool_use` and `tool_result` of user and assistant; the system's are read as the user's; the last one "
        "is the user's"
    ),
    "max_tokens": _used(_CAP.about + "; it must be given"),
    "system": _used("the system message before the others"),
    "stop_sequences": _used("at most 4, each of 1 to 64 characters: the answer ends before the first of them"),
    "stream": _STREAM,
    "temperature": _used("0 to 1, in both models; not given: an API draws as it likes, any other model is greedy"),
    "top_p": CHAT["top_p"],
    "tools": _used("the caller's own, at most 128; `strict` as in chat completions"),
    "tool_choice": _used("`auto`, `any`, `tool` or `none`, with `disable_parallel_tool_use`"),
    "metadata": _used("`user_id`: as `user` of chat completions"),
    "output_config": _used("`format`: a `json_schema`, as `response_format` of chat completions"),
    "output_format": _used("the older name of `output_config.format`"),
    "tandem": _OWN,
    "container": _refused("nothing is run here"),
    "inference_geo": _refused("there is one place"),
    "thread": _refused(_STATELESS),
    "stop": _refused("use `stop_sequences`", []),
    "top_k": _hint("not followed by every engine"),
    "thinking": _hint(
        "its budget is told an API of another protocol as an effort, unless that is given: up to 2,048 tokens `low`, "
        "to 8,192 `medium`, else `high`",
        {"type": "disabled"},
    ),
    "output_config.effort": _EFFORT,
    "service_tier": _hint(_TIERS, "auto", "standard_only"),
    "speed": _hint(_TIERS, "standard"),
    "mcp_servers": _hint("nothing is called here: the caller runs its tools", []),
    "context_management": _hint(_NOT_CUT),
    "compaction": _hint(_NOT_CUT),
    "fallbacks": _hint("the profile says which models answer", []),
    "diagnostics": _hint("it is the client's own"),
    "billing_policy": _hint("the credential says who pays"),
    "fallback_credit_token": _hint("the credential says who pays"),
    "user_profile_id": _hint("the credential says who asks"),
    "workspace_id": _hint("the credential says who asks"),
    "betas": _hint("say them in the header `anthropic-beta`", []),
    "cache_control": _CACHE,
    "system[].cache_control": _CACHE,
    "messages[].content[].cache_control": _CACHE,
    "messages[].content[].citations": _hint(_CITED, []),
    "messages[].content[type=thinking]": CHAT["messages[].reasoning_content"],
    "messages[].content[type=redacted_thinking]": CHAT["messages[].reasoning_content"],
    "tools[].cache_control": _CACHE,
    "tools[].input_schema": _BOUND,
    "tools[].defer_loading": _hint("all tools are read"),
    "tools[].eager_input_streaming": _hint("calls come at the end of a stream"),
    "messages[].content[type=*]": _unless_passed(_refused(_TEXT_ONLY)),
    "messages[].content[].content[type=*]": _unless_passed(_refused(_TEXT_ONLY)),
    "tools[type=*]": _SERVERS_TOOL,
    "tools[type=web_search_20250305]": _SERVERS_TOOL,
}
