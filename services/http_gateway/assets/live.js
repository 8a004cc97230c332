// A request as its events tell it: a pure function from a state and an event to the next state.

const NOTHING = { text: "", tokens: 0, ends: [], said: 0 };

export const start = (id) => ({
  id,
  phase: "running",
  accepted: null,
  insight: NOTHING,
  answer: NOTHING,
  small: "slm", // the role of the small model that writes
  drafts: [],
  stages: [],
  checks: [],
  stop: null,
  result: null,
  error: "",
});

/** The same state for a request that has ended, from its result alone. */
export function ofResult(found) {
  const { result } = found;
  const stages = result.stages.map((stage) => ({
    ...stage,
    sufficient: stage.score !== null && stage.score >= stage.threshold,
  }));
  return { ...start(found.request_id), phase: "done", stages, checks: result.checks, result, error: found.error };
}

export function next(state, event) {
  switch (event.kind) {
    case "accepted":
      return { ...state, accepted: event };
    case "insight_delta":
      return { ...state, insight: add(state.insight, event) };
    case "answer_delta":
      return { ...state, answer: add(state.answer, event) };
    case "stage_completed":
    case "scored":
      return { ...state, stages: merged(state.stages, event) };
    case "checked":
      return { ...state, checks: [...state.checks, event] };
    case "llm_stopped":
      return { ...state, stop: event };
    case "restarted":
      return restarted(state, event);
    case "completed":
      return completed(state, event);
    case "failed":
      return { ...state, phase: "failed", error: event.message };
    default:
      return state; // of a newer server
  }
}

function add(written, { text, tokens, said }) {
  const whole = written.text + text;
  return { text: whole, tokens, said, ends: [...written.ends, [tokens, whole.length]] };
}

/** Characters of the first `tokens` tokens. */
const length = (written, tokens) => written.ends.findLast(([end]) => end <= tokens)?.[1] ?? 0;

function cut(written, tokens) {
  const text = written.text.slice(0, length(written, tokens));
  return { text, tokens, said: Math.min(written.said, text.length), ends: written.ends.filter(([end]) => end <= tokens) };
}

function merged(stages, event) {
  const { kind, ...fields } = event;
  const known = stages.find(({ stage }) => stage === event.stage) ?? { score: null, name: "" };
  const others = stages.filter(({ stage }) => stage !== event.stage);
  return [...others, { ...known, ...fields }].sort((a, b) => a.stage - b.stage);
}

/** An attempt was lost, or another trial begins: what a trial wrote stays to be looked at. */
function restarted(state, { role, tokens }) {
  if (role === "llm") return { ...state, insight: cut(state.insight, tokens) };
  const drafts = !tokens && state.answer.text ? [...state.drafts, state.answer.text] : state.drafts;
  return { ...state, small: role, drafts, answer: cut(state.answer, tokens) };
}

function completed(state, event) {
  const { kind, ...result } = event;
  const ended = ofResult({ request_id: state.id, result, error: "" });
  return { ...state, phase: "done", result, stages: ended.stages.length ? ended.stages : state.stages };
}

/** The role whose model wrote the answer; empty: there is no answer yet, or none at all. */
export function author(result) {
  if (!(result?.answer || result?.tool_calls.length) || result.stop.reason === "cancelled") return "";
  if (result.answered_by !== "unspecified") return result.answered_by;
  return result.stop.reason === "llm_finished" ? "llm" : "slm"; // of an older server
}

/** The answer for a reader; a gateway of an earlier version has no `text`. */
export const textOf = (result) => result.text || result.answer;

/** Where tools may be called the models write in formats of their own, and only so much is text for sure. */
const isMessage = ({ accepted }) => accepted?.answer_text === "message";
const saidFor = ({ text, said }) => [...text].slice(0, said).join("");

/** Who writes the answer, as far as that is known before the result; empty while it is not. */
export function writer(state) {
  const { result, stop, insight, answer, accepted } = state;
  if (result) return author(result);
  if (isMessage(state)) return insight.said ? "llm" : "";
  if (accepted?.answer_text === "insight" || stop?.reason === "llm_finished") return "llm";
  return answer.tokens ? state.small : "";
}

/** The answer as { by, text } in order: of both models where the small one went on from the insight. */
export function parts(state) {
  const { result, insight, answer } = state;
  const by = writer(state);
  if (!by) return [];
  if (isMessage(state)) return shown(by, result ? textOf(result) : saidFor(insight));
  const own = by === "llm" ? insight.text : answer.text;
  if (by !== "llm" && state.accepted?.answer_text === "continuation") {
    const begun = insight.text.slice(0, length(insight, used(state)));
    const whole = begun + answer.text;
    if (begun && (!result || whole.trim() === textOf(result).trim())) return [{ by: "llm", text: begun }, { by, text: answer.text }];
  }
  // What came is shown as it was written where the answer stands in it, as a program among words.
  return shown(by, !result || own.includes(textOf(result)) ? own : textOf(result));
}

const shown = (by, text) => (text ? [{ by, text }] : []);

/** Tokens of the insight that the small model goes on from. */
function used({ stages, result }) {
  const number = result?.stop.stage ?? stages.findLast((stage) => stage.sufficient)?.stage ?? 0;
  return stages.find(({ stage }) => stage === number)?.tokens ?? 0;
}

/** What the small models have in an object by role. */
const ofSmall = (byRole) => Object.entries(byRole).filter(([role]) => role.endsWith("slm")).map(([, value]) => value);

/** A role in words: large, small, second small, scorer. */
export const roleName = (role) => (role === "llm" ? "large" : role.replace("_", " ").replace("slm", "small"));

/** Whether all text came that the bill has: of several trials only that there is some. */
export function isWhole({ insight, answer, result }) {
  const small = ofSmall(result.usage).reduce((whole, used) => whole + used.output_tokens, 0);
  const expected = result.trials.length > 1 ? Math.min(1, small) : small;
  return insight.tokens >= result.usage.llm.output_tokens && answer.tokens >= expected;
}

/** The insight in pieces, each with the stage that it ends; the last one is of no stage yet, or came too late. */
export function pieces({ insight, stages, stop, result }) {
  const found = [];
  let from = 0;
  for (const stage of stages.filter((one) => one.stage > 0 && one.tokens !== undefined)) {
    const to = length(insight, stage.tokens);
    found.push({ text: insight.text.slice(from, to), stage });
    from = to;
  }
  const isOverrun = (stop?.reason ?? result?.stop.reason) === "sufficient";
  return [...found, { text: insight.text.slice(from), stage: null, isOverrun }];
}

/** Of words; null where the price is not known. */
const cost = (tokens, price) => (price ? (tokens * price.output) / 1e6 : null);

/** What the models' words have cost so far; what they read is only known at the end. */
export function spent(state, prices) {
  if (state.result) {
    const small = ofSmall(state.result.cost.usd_by_role);
    return { llm: state.result.cost.usd_by_role.llm, slm: small.includes(null) ? null : small.reduce((a, b) => a + b, 0) };
  }
  if (!prices) return { llm: 0, slm: 0 };
  return { llm: cost(state.insight.tokens, prices.llm), slm: cost(state.answer.tokens, prices.slm) };
}

/** What the large model alone would cost: its words, until the result says more. */
export function alone(state, profile, task) {
  if (state.result) return state.result.cost.usd_llm_alone;
  const tokens = task === "code" ? profile?.llm_alone_code_output_tokens : profile?.llm_alone_output_tokens;
  return profile ? cost(tokens, profile.prices.llm) : 0;
}
