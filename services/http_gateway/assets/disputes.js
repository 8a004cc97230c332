// Disputes: requests where two small models agree and the large one says otherwise, from a file of the reader's, which is sent nowhere.
import { CopyButton } from "./clipboard.js";
import { html, useState } from "./html.js";

const LABELS = { left: "Left", right: "Right", both: "Both", neither: "Neither" };

export function Disputes() {
  const [told, setTold] = useState(null);
  const [error, setError] = useState("");
  const take = async (event) => {
    try {
      setTold(read(JSON.parse(await event.target.files[0].text())));
      setError("");
    } catch {
      setError("This is no file of disputes.");
    }
  };
  const label = (id, said) => setTold({ ...told, disputes: told.disputes.map((each) => (each.id === id ? { ...each, label: said, isNew: true } : each)) });
  const open = told?.disputes.find((each) => !each.label);
  const given = told?.disputes.filter((each) => each.isNew) ?? [];
  return html`
    <h1>Disputes</h1>
    <p class="note">Where two small models agree and the large one says otherwise, a word on who is right bounds what is lost.
      <code>tandem disputes FILE --json > disputes.json</code> writes the file; it stays in this browser.</p>
    <p><label class="field"><span>File of disputes</span> <input type="file" accept=".json" onChange=${take} /></label></p>
    ${error && html`<p class="problem" role="alert">${error}</p>`}
    ${told && html`<p role="status">${told.disputes.filter((each) => each.label).length} of ${told.disputes.length} have a label.</p>`}
    ${open && html`<${Dispute} dispute=${open} label=${(said) => label(open.id, said)} />`}
    ${given.length > 0 && html`
      <p><span class="note">Keep them:</span> <${CopyButton} text=${asCommand(told.file, given)} label="Copy the command" /></p>
      <pre class="plain">${asCommand(told.file, given)}</pre>`}`;
}

function Dispute({ dispute, label }) {
  return html`
    <section class="pane" aria-label="Dispute ${dispute.id}">
      <header><h2>${dispute.id}</h2><span class="model">${dispute.kind}</span></header>
      <p class="plain">${dispute.question}</p>
      <h3>Left: the small models</h3>
      <p class="plain">${dispute.left}</p>
      <h3>Right: the large model</h3>
      <p class="plain">${dispute.right}</p>
      <p>Who is right? ${Object.entries(LABELS).map(([said, shown]) => html`<button type="button" onClick=${() => label(said)}>${shown}</button> `)}</p>
    </section>`;
}

/** Throws where it has no disputes. */
function read({ file, disputes }) {
  if (![file, ...disputes.flatMap((each) => [each.id, each.question, each.left, each.right])].every((each) => typeof each === "string")) throw new TypeError("no dispute");
  return { file: file.replace(/\.disputes\.jsonl$/, ".jsonl"), disputes };
}

/** For a shell of POSIX. */
function asCommand(file, given) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  return ["tandem disputes", quoted(file), ...given.map(({ id, label }) => `--take ${quoted(`${id}=${label}`)}`)].join(" ");
}
