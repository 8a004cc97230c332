// One request: what was asked and answered, its stages, checks and bill.
import { getRequest, said } from "./api.js";
import { Bill, Running } from "./bill.js";
import { Checks } from "./checks.js";
import { usd, words } from "./format.js";
import { html } from "./html.js";
import { ToolResults } from "./calls.js";
import { turnOf } from "./conversation.js";
import { ofResult, textOf } from "./live.js";
import { Markdown } from "./markdown.js";
import { Answer } from "./panes.js";
import { useReading } from "./reading.js";
import { Stages } from "./stages.js";
import { Use } from "./use.js";
import { Waterfall } from "./waterfall.js";

/** A result does not tell its task. */
const CODE = /^(```|def |class |from \w+ import |import )/m;

export function Request({ id, served }) {
  const { found: last, error } = useReading(() => getRequest(id), id, isRunning);
  const found = last?.request_id === id ? last : null;
  return html`
    <p class="back"><a href="#/requests">← Requests</a></p>
    ${error && html`<h1>Request</h1><p class="problem" role="alert">${said(error)}</p>`}
    ${found && !found.result && html`<${Unfinished} found=${found} />`}
    ${found?.result && html`<${Finished} found=${found} served=${served} />`}`;
}

const isRunning = ({ state }) => state === "running";

function Unfinished({ found }) {
  return html`
    <h1>Request <code>${found.request_id}</code></h1>
    <p>${words(found.state)}. ${found.error}</p>
    ${isRunning(found) && html`<p><a href=${`#/ask/${encodeURIComponent(found.request_id)}`}>Watch it</a></p>`}`;
}

/** A question is the title; what tools gave stands below one. */
function Asked({ result }) {
  const { question, results, others } = turnOf(result);
  if (!results) return html`<h1 class=${`question${CODE.test(question) ? " code" : ""}`} tabindex="0">${question}</h1>`;
  return html`<h1>Result of a tool</h1><${ToolResults} results=${results} others=${others} />`;
}

function Finished({ found, served }) {
  const { result, shadow } = found;
  const state = ofResult(found);
  const profile = served.profiles.find(({ name }) => name === result.profile);
  const isCode = CODE.test(result.answer);
  const steps = textOf(result).includes(result.reasoning.trim()) ? "" : result.reasoning;
  return html`
    <${Asked} result=${result} />
    <div class="board opened">
      <${Answer} state=${state} profile=${profile} isCode=${isCode}>
        ${steps && html`<details><summary>All that was written on the way</summary><${Markdown} text=${steps} /></details>`}
        ${(result.answer || result.tool_calls.length > 0) && html`<${Use} result=${result} />`}
        ${shadow && html`<p class="ending">The large model alone: ${usd(shadow.usd)} measured, ${shadow.agrees ? "the same" : "another"} answer.</p>`}
      <//>
      <aside aria-label="How it was answered">
        <${Running} state=${state} profile=${profile} />
        <${Checks} checks=${result.checks} trials=${result.trials} />
        ${state.stages.length > 0 && html`<${Stages} state=${state} profile=${profile} />`}
      </aside>
      <${Waterfall} id=${found.request_id} result=${result} jaeger=${served.jaeger} />
      <${Bill} result=${result} jaeger=${served.jaeger} isOpen />
    </div>`;
}
