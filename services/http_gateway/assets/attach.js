// Text files beside a question: their text goes into it, so that what is sent is what is seen.
import { html, useState } from "./html.js";

/** The question with the file's text in a block that no fence within it ends. */
export function withFile(question, name, text) {
  const longest = Math.max(2, ...(text.match(/`{3,}/g) ?? []).map(({ length }) => length));
  const fence = "`".repeat(longest + 1);
  return `${question}${question && "\n\n"}${name}:\n${fence}\n${text.replace(/\n$/, "")}\n${fence}`;
}

/** `add` takes a file's name and text. */
export function Attach({ add }) {
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
