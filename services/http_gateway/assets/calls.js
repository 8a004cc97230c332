// Calls of tools: what an answer calls, and the results that the user gives.
import { Code } from "./code.js";
import { html } from "./html.js";

const SHORT = 60; // characters of arguments that stand on one line

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

/** Whether a request was about calls. */
export const isOfTools = (result) => result.tool_calls.length > 0 || (result.answered_calls ?? []).length > 0;
