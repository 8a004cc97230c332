// Batches: files of many questions, how far each is, what it has cost, and its answers.
import { cancelBatch, getBatches, getFile, said } from "./api.js";
import { count, time, usd, words } from "./format.js";
import { Cells, html, Scroll, useState } from "./html.js";
import { useReading } from "./reading.js";

const KEPT_MS = 60_000;
const MOVING = new Set(["running", "finalizing", "cancelling"]);

export function Batches() {
  const [numAsked, setNumAsked] = useState(0);
  const [refused, setRefused] = useState(null);
  const { found, error } = useReading(getBatches, numAsked, ({ data }) => data.some(isMoving));
  const problem = error ?? refused;
  const tried = (asked) => {
    setRefused(null);
    return asked.catch(setRefused);
  };
  const cancel = (batch) => tried(cancelBatch(batch.id)).then(() => setNumAsked(numAsked + 1));
  return html`
    <h1>Batches</h1>
    ${problem && html`<p class="problem" role="alert">${said(problem)}</p>`}
    ${found?.data.length === 0 && html`<p class="empty">There is no batch. <code>tandem batch FILE --out ANSWERS</code> asks all questions of a file, as do
      the batches of OpenAI's clients.</p>`}
    ${found?.data.length > 0 && html`<${Table} batches=${found.data} ...${{ cancel, tried }} />`}
    ${found?.has_more && html`<p class="note">These are the ${count(found.data.length)} newest; <code>tandem batch status BATCH</code> shows others.</p>`}`;
}

const isMoving = ({ tandem }) => MOVING.has(tandem.state);

function Table({ batches, cancel, tried }) {
  const heads = ["Made", "State", "Answered", "USD", "Answers", "Profile", "Batch"];
  return html`
    <${Scroll} label="Batches"><table class="plain-table stacked batches">
      <caption class="unseen">Batches, newest first</caption>
      <thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
      <tbody>${batches.map((batch) => html`
        <tr key=${batch.id}>
          <${Cells} heads=${heads} cells=${[
            html`<span class="when">${time(batch.created_at * 1000)}</span>`,
            html`${words(batch.tandem.state)}${batch.errors && html`<span class="note">${batch.errors.data[0].message}</span>`}
              ${isMoving(batch) && batch.tandem.state !== "cancelling" && html`<button type="button" class="quiet" onClick=${() => cancel(batch)}>Cancel</button>`}`,
            html`<${Progress} counts=${batch.tandem.counts} />`,
            [usd(batch.tandem.cost_usd), batch.tandem.max_cost_usd !== null && html` <span class="note">of ${usd(batch.tandem.max_cost_usd)}</span>`],
            html`${[["Answers", batch.output_file_id], ["Errors", batch.error_file_id]].map(([label, file]) => file && html`
              <button type="button" class="quiet" onClick=${() => tried(save(file))}>${label}</button>`)}${!batch.output_file_id && !batch.error_file_id && "–"}`,
            batch.model,
            html`<code title=${batch.id}>${batch.id}</code>`,
          ]} />
        </tr>`)}</tbody>
    </table><//>`;
}

function Progress({ counts }) {
  const { total, answered } = counts;
  const parts = ["failed", "cancelled", "unasked", "running"].filter((name) => counts[name]).map((name) => `${count(counts[name])} ${name}`);
  return html`
    ${count(answered)} of ${count(total)} ${parts.length > 0 && html`<span class="note">${parts.join(", ")}</span>`}
    <svg class="bar" height="3" aria-hidden="true"><rect class="alone" width=${`${(answered / (total || 1)) * 100}%`} height="3" /></svg>`;
}

/** As a file of the reader's: a link cannot send the key. */
async function save(file) {
  const address = URL.createObjectURL(await getFile(file));
  const link = Object.assign(document.createElement("a"), { href: address, download: `${file}.jsonl` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), KEPT_MS); // not every browser has read it by now
}
