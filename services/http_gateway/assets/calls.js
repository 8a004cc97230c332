// Calls of tools: what an answer calls, the results that the user gives, and why the small model's call was taken or passed on.
import { Code } from "./code.js";
import { score } from "./format.js";
import { html } from "./html.js";

const SHORT = 60; // characters of arguments that stand on one line
/** They judge what the small model writes where tools may be called, before the large one is asked. */
const MEASURES = { certainty: "certainty", calls: "chance to be right" };

/** A call as a program writes it. */
export function written({ name, arguments: given }) {
  try {
    const values = JSON.parse(given);
    const line = JSON.stringify(values, null, 1).replace(/\s*\n\s*/g, " ").replace(/^\{ | \}$/g, (edge) => edge.trim());
    return `${name}(${line.length > SHORT ? JSON.stringify(values, null, 2) : line})`;
  } catch {
    return `${name}(${given})`;
  }
}

export const Calls = ({ calls }) => calls.map((call) => html`<${Code} key=${call.id} text=${written(call)} language="json" title="calls" />`);

/** What tools gave. `others`: calls whose results are not known here. */
export function ToolResults({ results, others = [] }) {
  return html`
    ${results.map((result) => html`
      <figure class="said tool" key=${result.id}>
        <figcaption>Result of <code>${written(result)}</code></figcaption>
        <pre tabindex="0">${result.text}</pre>
      </figure>`)}
    ${others.length > 0 && html`<p class="note">Answered together with ${others.length === 1 ? "the result" : "the results"} of
      ${others.map((call, index) => html`${index ? ", " : " "}<code>${written(call)}</code>`)}.</p>`}`;
}

/** A field for each call's result; `given` has the texts by the calls' ids. */
export function GiveResults({ calls, given, edit, submit }) {
  return html`
    <form class="ask give" onSubmit=${submit}>
      <p class="note">Nothing is called here: run ${calls.length === 1 ? "the call" : "each call"} yourself, and give what came of it.</p>
      ${calls.map((call) => html`
        <div key=${call.id}>
          <label for=${`result-${call.id}`}>Result of <code>${written(call)}</code></label>
          <textarea id=${`result-${call.id}`} class="code" rows="1" required spellcheck=${false} value=${given[call.id] ?? ""}
            onInput=${(event) => edit({ results: { ...given, [call.id]: event.target.value } })}></textarea>
        </div>`)}
      <div class="controls"><button type="submit" class="go">Go on</button></div>
    </form>`;
}

/** Whether a stage is the small model's try where tools may be called. */
export const isTry = ({ stage, scorer }) => stage === 0 && scorer in MEASURES;
const tryOf = ({ stages }) => stages.find(isTry);

/** Whether a request was about calls. */
export const isOfTools = (result) => result.tool_calls.length > 0 || (result.answered_calls ?? []).length > 0 || tryOf(result) !== undefined;

/** Why the small model's try was taken or passed on, in a sentence; empty where a note says it, or there were no tools. */
export function verdict(result) {
  const tried = tryOf(result);
  if (!tried) {
    const isLarges = result.tool_calls.length > 0 && result.answered_by === "llm" && !result.usage.slm.output_tokens;
    return isLarges && !result.notes.length ? "The small model was not asked: no threshold says when its call is taken" : "";
  }
  const figures = `its ${MEASURES[tried.scorer]}, ${score(tried.score)}, ${tried.sufficient ?? tried.score >= tried.threshold ? "reaches" : "is below"} the threshold, ${score(tried.threshold)}`;
  if (result.answered_by === "slm") return `The small model's ${result.tool_calls.length ? "call" : "answer"} was ${isTaken(result) ? "taken" : "used"}: ${figures}`;
  if (result.checks.some((check) => check.role === "slm" && check.verdict === "fail")) return "The small model's call was passed on: it failed a check";
  if (tried.threshold === 1 && !result.notes.length) return `The small model called nothing, and its ${MEASURES[tried.scorer]} cannot tell whether that is right`;
  if (tried.score === null || tried.threshold === 1) return "";
  return `The small model's answer was passed on: ${figures}`;
}

const isTaken = ({ stop }) => stop.reason === "sufficient";
