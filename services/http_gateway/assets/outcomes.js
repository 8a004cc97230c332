// Outcomes: what callers and shadows say of each policy's answers, whether a promise is kept, and disputes to label.
import { getPromises, said } from "./api.js";
import { CopyButton } from "./code.js";
import { count, percent } from "./format.js";
import { Cells, html, Scroll, useState } from "./html.js";
import { never, useReading } from "./reading.js";

const HEADS = ["Profile", "Task", "Accepted by", "Outcomes", "Lost", "Between", "Promised", "Says"];

/** Of one tenant, the reader's own where `tenant` is empty; of all profiles where `profile` is. */
export function Outcomes({ tenant = "", profile = "" }) {
  const { found, error } = useReading(() => getPromises(tenant), tenant, never);
  const policies = found?.policies.filter((policy) => !profile || policy.profile === profile);
  return html`
    <h2 class="part">Outcomes</h2>
    ${error && html`<p class="problem" role="alert">${said(error)}</p>`}
    ${policies?.length === 0 && html`<p class="empty">Nobody has said yet whether an answer was right. The page of each
      <a href="#/requests">request</a> takes it, as does <code>tandem outcome REQUEST right</code>.</p>`}
    ${policies?.length > 0 && html`<${Table} policies=${policies} />`}
    <${Disputes} />`;
}

function Table({ policies }) {
  return html`
    <${Scroll} label="Outcomes by policy"><table class="policies stacked">
      <caption class="unseen">Outcomes by policy</caption>
      <thead><tr>${HEADS.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
      <tbody>${policies.map((policy) => html`
        <tr key=${`${policy.profile} ${policy.task}`}><${Cells} heads=${HEADS} cells=${[
          policy.profile, policy.task, policy.evidence, count(policy.outcomes), count(policy.lost),
          `${percent(policy.lost_at_least)} and ${percent(policy.lost_at_most)}`,
          policy.promised === null ? "–" : `at most ${percent(policy.promised)}`,
          [verdict(policy), policy.step > 0 && html`<span class="note">${policy.step === 1 ? "1 step" : `${policy.step} steps`} stricter</span>`],
        ]} /></tr>`)}</tbody>
    </table><//>
    <p class="note">Of all time, and of the reader's own tenant where none is chosen. Lost: the answer was wrong, and the large model's own is right.
      The bounds are each at ${percent(policies[0].confidence)} confidence.</p>`;
}

function verdict({ promised, standing }) {
  if (promised === null) return "no promise";
  return { kept: "kept", broken: "broken" }[standing] ?? "too few to tell";
}

const LABELS = { left: "Left", right: "Right", both: "Both", neither: "Neither" };

/** Requests where two small models agree and the large one does not, from a file of the reader's, which is sent nowhere. */
function Disputes() {
  const [opened, setOpened] = useState(null);
  const [error, setError] = useState("");
  const open = async (event) => {
    try {
      setOpened(read(JSON.parse(await event.target.files[0].text())));
      setError("");
    } catch {
      setError("This is no file of disputes.");
    }
  };
  const label = (id, value) => setOpened({ ...opened, disputes: opened.disputes.map((each) => (each.id === id ? { ...each, label: value, isNew: true } : each)) });
  const next = opened?.disputes.find((each) => !each.label);
  const labelled = opened?.disputes.filter((each) => each.isNew) ?? [];
  return html`
    <details>
      <summary>Label disputes</summary>
      <div class="disputes">
        <p class="note">Where two small models agree and the large one does not, a label of who is right bounds what is lost.
          <code>tandem disputes FILE --json > disputes.json</code> writes the file; it stays in this browser.</p>
        <label class="field"><span>File of disputes</span> <input type="file" accept=".json" onChange=${open} /></label>
        ${error && html`<p class="problem" role="alert">${error}</p>`}
        ${opened && html`<p role="status">${opened.disputes.filter((each) => each.label).length} of ${opened.disputes.length} have a label.</p>`}
        ${next && html`<${Dispute} dispute=${next} label=${(value) => label(next.id, value)} />`}
        ${labelled.length > 0 && html`
          <p><span class="note">Keep them:</span> <${CopyButton} text=${asCommand(opened.file, labelled)} label="Copy the command" /></p>
          <pre class="plain">${asCommand(opened.file, labelled)}</pre>`}
      </div>
    </details>`;
}

function Dispute({ dispute, label }) {
  return html`
    <section class="pane" aria-label="Dispute ${dispute.id}">
      <header><h3>${dispute.id}</h3><span class="model">${dispute.kind}</span></header>
      <p class="plain">${dispute.question}</p>
      <h4>Left: the small models</h4>
      <p class="plain">${dispute.left}</p>
      <h4>Right: the large model</h4>
      <p class="plain">${dispute.right}</p>
      <p class="labels">Who is right? ${Object.entries(LABELS).map(([value, text]) => html`<button type="button" onClick=${() => label(value)}>${text}</button> `)}</p>
    </section>`;
}

/** Throws where it has no disputes. */
function read({ file, disputes }) {
  if (![file, ...disputes.flatMap((each) => [each.id, each.question, each.left, each.right])].every((each) => typeof each === "string")) throw new TypeError("no dispute");
  return { file: file.replace(/\.disputes\.jsonl$/, ".jsonl"), disputes };
}

/** For a shell of POSIX. */
function asCommand(file, labelled) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  return ["tandem disputes", quoted(file), ...labelled.map(({ id, label }) => `--take ${quoted(`${id}=${label}`)}`)].join(" ");
}
