// What goes with a question: a system prompt, a JSON schema of the answer, checks that it must pass, and text files.
import { Attach, withFile } from "./attach.js";
import { html } from "./html.js";

/** Named as the fields of the page's API, but for `system`, which is a message. */
export const EMPTY = { system: "", json_schema: "", checks: "" };
const FIELDS = {
  system: ["System prompt", "Begins the conversation, in place of the profile's own.", ["chat"], "Answer in one sentence."],
  json_schema: ["JSON schema", "Both models are held to it, and the answer is validated.", ["answer", "chat"], '{"type": "object", "properties": {"name": {"type": "string"}}}'],
  checks: ["Checks", "One a line; an answer must pass them, beside the profile's own.", ["answer", "code"], "regex:[0-9]+"],
};

const shown = (task) => Object.entries(FIELDS).filter(([, [, , tasks]]) => tasks.includes(task));

/** What is sent of them for a task; nothing of a field that is empty, or not shown. */
export function sent(given, task) {
  const lines = given.checks.split("\n").map((line) => line.trim()).filter(Boolean);
  const all = { system: given.system.trim(), json_schema: given.json_schema.trim(), checks: lines };
  return Object.fromEntries(shown(task).map(([name]) => [name, all[name]]).filter(([, value]) => value.length));
}

export function Drawer({ asked, edit }) {
  const count = Object.keys(sent(asked, asked.task)).length;
  return html`
    <details class="drawer">
      <summary>More${count > 0 && ` (${count} set)`}</summary>
      <div class="drawn">${shown(asked.task).map(([name, [label, told, , hint]]) => html`
        <div><label for=${`more-${name}`}>${label}</label>
          <textarea id=${`more-${name}`} class="code" rows="3" spellcheck="false" placeholder=${hint} value=${asked[name]}
            onInput=${(event) => edit({ [name]: event.target.value })}></textarea>
          <p class="note">${told}</p></div>`)}
        <${Attach} add=${(name, text) => edit((before) => ({ question: withFile(before.question, name, text) }))} /></div>
    </details>`;
}
