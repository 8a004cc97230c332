// What goes with a question: a system prompt, tools, a JSON schema of the answer, checks that it must pass, a threshold, and text files.
import { html, useState } from "./html.js";

/** Named as the fields of the page's API, but for `system`, which is a message. */
export const EMPTY = { system: "", tools: "", json_schema: "", checks: "", threshold: "" };
const ALL = ["chat", "answer", "code"];
const FIELDS = {
  system: { label: "System prompt", told: "Begins the conversation, in place of the profile's own.", tasks: ["chat"], hint: "Answer in one sentence." },
  tools: {
    label: "Tools", told: "Functions that the answer may call, as OpenAI's API takes them. You give what each call results in.", tasks: ["chat"],
    hint: '[{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]', read: readTools,
  },
  json_schema: {
    label: "JSON schema", told: "Both models are held to it, and the answer is validated.", tasks: ["answer", "chat"],
    hint: '{"type": "object", "properties": {"name": {"type": "string"}}}',
  },
  checks: {
    label: "Checks", told: "One a line; an answer must pass them, beside the profile's own.", tasks: ["answer", "code"], hint: "regex:[0-9]+",
    read: (text) => text.split("\n").map((line) => line.trim()).filter(Boolean),
  },
  threshold: {
    label: "Threshold", told: "0 to 1: the score from which on the small model's answer is taken. Empty: the profile's own.", tasks: ALL, hint: "0.8",
    read: Number, number: { type: "number", min: 0, max: 1, step: "any" },
  },
};
/** Beside tools a check looks at their arguments. */
const CALL_CHECKS = { ...FIELDS.checks, told: "One a line; the small model's call must pass them.", hint: "call:weather/city:regex:[A-Z].*" };

/** [name, field] of what a task takes. */
function shown(task, given) {
  const fields = { ...FIELDS, ...(task === "chat" && given.tools.trim() && { checks: { ...CALL_CHECKS, tasks: ["chat"] } }) };
  return Object.entries(fields).filter(([, { tasks }]) => tasks.includes(task));
}

const filled = (task, given) => shown(task, given).filter(([name]) => given[name].trim());

/** What is sent of them for a task; nothing of a field that is empty, or not shown. Throws where one cannot be read. */
export const sent = (given, task) =>
  Object.fromEntries(filled(task, given).map(([name, { read }]) => [name, read ? read(given[name]) : given[name].trim()]));

function readTools(text) {
  let tools;
  try {
    tools = JSON.parse(text);
  } catch (error) {
    throw new Error(`The tools are no JSON: ${error.message}`);
  }
  if (!Array.isArray(tools)) throw new Error("The tools are a list in JSON: [{…}]");
  return tools;
}

/** Why a field cannot be sent. */
function fault({ read }, text) {
  try {
    if (text.trim()) read?.(text);
    return "";
  } catch (error) {
    return error.message;
  }
}

export function Drawer({ asked, edit }) {
  const count = filled(asked.task, asked).length;
  return html`
    <details class="drawer">
      <summary>More${count > 0 && ` (${count} set)`}</summary>
      <div class="drawn">${shown(asked.task, asked).map(([name, field]) => html`<${Field} key=${name} ...${{ name, field, edit }} value=${asked[name]} />`)}
        <${Attach} add=${(name, text) => edit((before) => ({ question: withFile(before.question, name, text) }))} /></div>
    </details>`;
}

function Field({ name, field, value, edit }) {
  const wrong = fault(field, value);
  const shared = { id: `more-${name}`, placeholder: field.hint, value, onInput: (event) => edit({ [name]: event.target.value }) };
  return html`
    <div><label for=${shared.id}>${field.label}</label>
      ${field.number
        ? html`<input ...${shared} ...${field.number} />`
        : html`<textarea ...${shared} class="code" rows="3" spellcheck=${false}></textarea>`}
      <p class=${wrong ? "problem" : "note"}>${wrong || field.told}</p></div>`;
}

/** The question with the file's text in a block that no fence within it ends. */
function withFile(question, name, text) {
  const longest = Math.max(2, ...(text.match(/`{3,}/g) ?? []).map(({ length }) => length));
  const fence = "`".repeat(longest + 1);
  return `${question}${question && "\n\n"}${name}:\n${fence}\n${text.replace(/\n$/, "")}\n${fence}`;
}

/** `add` takes a file's name and text. */
function Attach({ add }) {
  const [error, setError] = useState("");
  const take = async (event) => {
    const files = [...event.target.files];
    event.target.value = ""; // so that the same file can be chosen again
    setError("");
    for (const file of files) {
      try {
        add(file.name, textOf(await file.arrayBuffer()));
      } catch {
        setError(`${file.name} is not a text in UTF-8, and was left out.`);
      }
    }
  };
  return html`
    <div><label for="attach">Text files</label>
      <input id="attach" type="file" multiple onChange=${take} />
      <p class="note">Their text is put at the end of the question.</p>
      ${error && html`<p class="problem" role="alert">${error}</p>`}</div>`;
}

function textOf(bytes) {
  const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  if (text.includes("\0")) throw new TypeError("binary");
  return text;
}
