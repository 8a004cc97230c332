"""A request that has ended, in full, for people: answer, stop and bill."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from tandem.cli.output import Screen, dollars
from tandem.cli.summary import not_compared, steps
from tandem.client.results import bill_lines, final_value, shown_text, to_dict
from tandem.method.roles import SMALL_ROLES
from tandem.v1 import tandem_pb2

_FINISHED = "llm_finished"
VERDICTS = {"pass": "passes", "fail": "fails", "unknown": "cannot be judged", "error": "was not checked"}
_CHECKED = {
    "verified": "verified: its checks pass",
    "unverified_best": "unverified: the best of the answers, all of which fail a check",
}


def print_result(console: Screen, result: tandem_pb2.SolveResult, shown: str = "") -> None:
    """Answer, stop and bill. `shown`: the text above; it is not repeated, nor are several lines that are in it."""
    data = to_dict(result)
    if final_value(result) and not shown:
        console.print(Text("text     ", style="bold"), end="")
        console.write(shown_text(result))
    if data["answer"] or not data["tool_calls"]:
        is_above = "\n" in data["answer"] and data["answer"] in shown
        console.print(Text("answer   ", style="bold"), end="")
        console.write("as above" if is_above else data["answer"] or "(none)", "bold green")
    for call in data["tool_calls"]:
        console.print(Text("call     ", style="bold"), end="")
        console.write(f"{call['name']} {call['arguments']}", "bold green")
    console.print(Text("stop     ", style="bold") + Text(_stop(data)))
    if data["policy_step"]:
        says = f"{steps(data['policy_step'])} stricter than calibrated: outcomes say that more was lost than promised"
        console.print(Text("policy   ", style="bold") + Text(says))
    saving = not_compared(result) or saved(data["cost"]["saved_ratio"])
    for line in _bill(result, data, saving):
        console.print(line, soft_wrap=True)
    if not data["complete"] and data["stop"]["reason"] != "cancelled":
        console.print(Text("note     the answer was truncated at its token limit", style="red"))
    for note in data["notes"]:
        console.print(Text(f"note     {note}", style="red"))


def _stop(data: dict[str, Any]) -> str:
    stop = data["stop"]
    if stop["reason"] == _FINISHED:
        return "none: the large model finished its answer"
    if stop["reason"] in _CHECKED:
        return f"{_CHECKED[stop['reason']]} (stage {stop['stage']})"
    score = "not scored" if stop["score"] is None else f"score {stop['score']:.3f} ({_scorer(data)})"
    return f"{stop['reason']} at stage {stop['stage']}, {score}"


def _scorer(data: dict[str, Any]) -> str:
    stage = next(s for s in data["stages"] if s["stage"] == data["stop"]["stage"])
    return str(stage["scorer"]) if stage["trained"] else f"{stage['scorer']} scorer"


def _bill(result: tandem_pb2.SolveResult, data: dict[str, Any], saving: str) -> list[Text]:
    cost, times = data["cost"], data["timings_ms"]
    lines = []
    for line in bill_lines(result):
        usage = line.usage
        about = "≈ " if usage.is_estimated else ""
        extra = "".join(f", {tokens} {state.replace('_', ' ')}" for state, tokens in line.others.items())
        parts = [f"+{usage.cached_input_tokens} cached"] if usage.cached_input_tokens else []
        parts += [f"{line.cache_writes} put into the cache"] if line.cache_writes else []
        cached = f" ({', '.join(parts)})" if parts else ""
        lines.append(
            Text(f"{line.title.removesuffix(' small'):8} ", style="bold")
            + Text(
                f"{about}{usage.input_tokens} prompt tokens{cached}, {usage.output_tokens} generated{extra}"
                f"   {dollars(line.usd)}   {usage.model}"
            )
        )
    has_others = sum(bool(data["usage"].get(role, {}).get("model")) for role in SMALL_ROLES) > 1
    for trial in data["trials"]:
        repair = ", a repair" if trial["repair"] else ""
        repair += f", by {trial['usage']['model']}" if has_others else ""
        lines.append(
            Text(f"  try {trial['number']}  ", style="bold")
            + Text(
                f"of these: {trial['usage']['input_tokens']} prompt tokens, {trial['usage']['output_tokens']} "
                f"generated   {dollars(trial['usd'])}   {VERDICTS[trial['verdict']]}{repair}, "
                f"{trial['check_seconds'] * 1000:.0f} ms of checks"
            )
        )
    usd_alone, tflops_alone = dollars(cost["usd_llm_alone"]), f"{cost['tflops_llm_alone']:.3f}"
    if not cost["llm_alone_is_exact"]:
        usd_alone, tflops_alone = f"≈ {usd_alone} (estimate)", f"≈ {tflops_alone}"
    is_estimated = any(usage["is_estimated"] for usage in data["usage"].values())
    lines.append(
        Text("bill     ", style="bold")
        + Text(
            f"{dollars(cost['usd'])}{' (estimated)' if is_estimated else ''}   large model alone {usd_alone}: "
            f"{saving}   prices {cost['price_version']}"
        )
    )
    lines.append(
        Text("compute  ", style="bold")
        + Text(
            f"{cost['tflops_paper']:.3f} TFLOPs by the paper's formula, {cost['tflops_full']:.3f} in full, "
            f"large model alone {tflops_alone}"
        )
    )
    parts = [f"total {times['total'] / 1000:.1f} s"]
    if times["decision"] is not None:
        parts.append(f"decision after {times['decision'] / 1000:.1f} s")
    if times["cancel"] is not None:
        parts.append(f"large model stopped {times['cancel']:.1f} ms later")
    if times["first_answer_token"] is not None:
        parts.append(f"first answer token {times['first_answer_token'] / 1000:.2f} s after the decision")
    lines.append(Text("time     ", style="bold") + Text(", ".join(parts)))
    system = data["overhead"]
    lines.append(
        Text("system   ", style="bold")
        + Text(
            f"{system['temporal_actions']} Temporal actions, {system['temporal_events']} events, "
            f"{system['history_bytes'] / 1000:.1f} KB of history"
        )
    )
    return lines


def saved(ratio: float) -> str:
    """Return what a request cost less than the large model alone."""
    return f"{ratio:+.0%} saved" if ratio >= 0 else f"{-ratio:.0%} more spent"
