// A conversation: its turns are kept for this tab, and each is sent with those before it.
import { Calls, ToolResults } from "./calls.js";
import { html } from "./html.js";
import { Written } from "./panes.js";

const KEPT = "tandem-conversation";

/** Turns are { id, task, question, answer, parts, calls }; the last one may have no answer yet. One that says what tools gave has their
 * `results` instead of a question, each a call with its text.
 */
const turns = () => JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");

/** Beyond what the browser keeps the oldest turns are forgotten. */
export function keep(all) {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(all));
  } catch {
    if (all.length > 1) keep(all.slice(1));
  }
}

/** [the turns before the request `id`, its own]; neither where the tab does not know it. */
export function around(id) {
  const all = turns();
  const index = all.findIndex((turn) => turn.id === id);
  return index < 0 ? [[], null] : [all.slice(0, index), all[index]];
}

/** Completes a turn with what was answered. */
export const complete = (id, fields) => keep(turns().map((turn) => (turn.id === id ? { ...turn, ...fields } : turn)));

/** What a turn said, as far as its result tells; of several tools' results it has the last one. */
export function turnOf({ question, answered_calls: calls = [] }) {
  if (!calls.length) return { question };
  return { results: [{ ...calls.at(-1), text: question }], others: calls.slice(0, -1) };
}

const said = ({ question, results }) =>
  results ? results.map(({ id, text }) => ({ role: "tool", tool_call_id: id, content: text })) : [{ role: "user", content: question }];

const answered = ({ answer, calls = [] }) => ({
  role: "assistant",
  content: answer,
  ...(calls.length && { tool_calls: calls.map(({ id, name, arguments: given }) => ({ id, type: "function", function: { name, arguments: given } })) }),
});

/** As OpenAI's API takes them. `last`: a turn that is asked now. */
export const messages = (earlier, last, system) => [
  ...(system ? [{ role: "system", content: system }] : []),
  ...earlier.flatMap((turn) => [...said(turn), answered(turn)]),
  ...said(last),
];

/** How a turn begins: the user's question, or what tools gave. */
export function Said({ turn }) {
  if (turn.results) return html`<${ToolResults} results=${turn.results} others=${turn.others} />`;
  return html`<p class=${`said${turn.task === "code" ? " code" : ""}`}>${turn.question}</p>`;
}

export function Earlier({ turns: earlier }) {
  return earlier.map((turn) => html`
    <article class="turn" key=${turn.id}>
      <${Said} turn=${turn} />
      <${Written} parts=${turn.parts} />
      <${Calls} calls=${turn.calls ?? []} />
      <p class="note"><a href=${`#/requests/${encodeURIComponent(turn.id)}`}>How it was answered, and its bill</a></p>
    </article>`);
}
