// One request: what was asked and answered, its stages, checks and bill; and what one does with the answer: say whether it was right, and
// ask the same from a program.
import { getRequest, key, report, said } from "./api.js";
import { Bill, Running } from "./bill.js";
import { Checks } from "./checks.js";
import { isOfTools, ToolResults } from "./calls.js";
import { CopyButton } from "./code.js";
import { turnOf } from "./conversation.js";
import { usd, words } from "./format.js";
import { html, useState } from "./html.js";
import { ofResult, textOf } from "./live.js";
import { Markdown } from "./markdown.js";
import { Answer } from "./panes.js";
import { useReading } from "./reading.js";
import { Stages } from "./stages.js";
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

/** `result` has an answer. It does not tell which tools were offered, so a request with tools cannot be asked again from it. */
function Use({ result }) {
  return html`
    <div class="use">
      <${Outcome} id=${result.request_id} />
      ${!isOfTools(result) && html`
        <p><span class="note">Ask it again, as a chat, by</span> <${CopyButton} text=${asCurl(result)} label="curl" /> <${CopyButton} text=${asPython(result)} label="Python" /></p>`}
    </div>`;
}

/** An outcome is reported once: the same one again changes nothing, and the gateway refuses another. */
function Outcome({ id }) {
  const [reported, setReported] = useState("");
  const [error, setError] = useState(null);
  const say = (isRight) => report(id, isRight).then(() => setReported(isRight ? "right" : "wrong"), setError);
  if (reported) return html`<p role="status">Noted: ${reported}.</p>`;
  return html`
    <p><span class="note">Was the answer right?</span>
      <button type="button" class="quiet" onClick=${() => say(true)}>Right</button>
      <button type="button" class="quiet" onClick=${() => say(false)}>Wrong</button>
      ${error && html`<span class="problem" role="alert">${error.message}</span>`}</p>`;
}

const messages = (result) => [{ role: "user", content: result.question }];

/** For a shell of POSIX: within single quotes only the quote itself is special. */
export const asCurl = (result) => [
  `curl -sS ${location.origin}/v1/chat/completions`,
  ...(key() ? ['-H "authorization: Bearer $TANDEM_API_KEY"'] : []),
  "-H 'content-type: application/json'",
  `-d '${JSON.stringify({ model: result.profile, messages: messages(result) }).replaceAll("'", "'\\''")}'`,
].join(" \\\n  ");

/** A text of JSON is a literal of Python as well. */
export const asPython = (result) => `${key() ? "import os\n\n" : ""}from openai import OpenAI

client = OpenAI(base_url=${JSON.stringify(`${location.origin}/v1`)}, api_key=${key() ? 'os.environ["TANDEM_API_KEY"]' : '"none"'})
reply = client.chat.completions.create(
    model=${JSON.stringify(result.profile)},
    messages=[{"role": "user", "content": ${JSON.stringify(result.question)}}],
)
print(reply.choices[0].message.content)
`;
