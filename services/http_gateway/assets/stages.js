// Each stage's score against its threshold, on a scale from 0 to 1.
import { count, score } from "./format.js";
import { html } from "./html.js";

export function Stages({ state, profile }) {
  const { result } = state;
  const rows = planned(state, profile);
  const isTrained = rows.find((row) => row.scorer)?.trained ?? true;
  return html`
    <section class="stages" aria-labelledby="stages-title">
      <header>
        <h2 id="stages-title">Stages</h2>
        <span class="note">score against threshold${isTrained ? "" : ", by an untrained rule"}</span>
      </header>
      <ol style=${{ "--columns": Math.min(rows.length, 6) }}>
        ${rows.map((row) => html`
          <li key=${row.stage} class=${[status(row, state), result?.stop.stage === row.stage && "used"].filter(Boolean).join(" ")}>
            <span class="stage-name">${row.stage ? html`<i>Stage </i>${row.stage}` : html`Question<i> alone</i>`} <span>${row.name}</span></span>
            <${Scale} row=${row} />
            <span class="stage-score">${row.score === null
              ? row.threshold !== null && `threshold ${score(row.threshold)}`
              : html`<b>${score(row.score)}</b> of ${score(row.threshold)}`}</span>
            <span class="stage-note">${note(row, state)}</span>
          </li>`)}
      </ol>
    </section>`;
}

/** What has happened of each stage, and those that may come or might have. */
function planned({ stages }, profile) {
  const possible = [{ name: "", threshold: null }, ...(profile?.stages ?? [])];
  const coming = possible.map(({ name, threshold }, stage) => ({ stage, name, threshold, score: null, isComing: true }));
  const missing = coming.filter(({ stage }) => !stages.some((known) => known.stage === stage));
  const named = stages.map((stage) => ({ threshold: null, ...stage, name: stage.stage ? stage.name : "" }));
  return [...named, ...missing].sort((a, b) => a.stage - b.stage);
}

function status(row, state) {
  if (row.isComing) return "coming";
  if (row.sufficient) return "sufficient";
  return row.score === null && !state.result ? "scoring" : "";
}

function note(row, state) {
  if (row.isComing && state.result?.stop.stage === row.stage) return "used, not scored";
  if (row.isComing && (state.stop || state.phase !== "running")) return row.stage ? "not needed" : "not scored";
  if (row.isComing) return "";
  const tokens = row.tokens ? `${count(row.tokens)} tokens` : "";
  if (row.sufficient) return [tokens, "suffices"].filter(Boolean).join(", ");
  if (row.score === null) return [tokens, state.phase === "running" ? "" : "not scored"].filter(Boolean).join(", ");
  return [tokens, state.result?.stop.stage === row.stage ? "used" : "goes on"].filter(Boolean).join(", ");
}

function Scale({ row }) {
  const at = (value) => `${value * 100}%`;
  const label = row.score === null ? "not scored yet" : `score ${score(row.score)}, threshold ${score(row.threshold)}`;
  return html`
    <svg class="scale" height="22" role="img" aria-label=${label}>
      <line class="axis" x1="0" x2="100%" y1="11" y2="11" />
      ${[0, 0.5, 1].map((value) => html`<line class="tick" x1=${at(value)} x2=${at(value)} y1="9" y2="13" />`)}
      ${row.score !== null && html`
        <line class="reach" x1="0" x2=${at(row.score)} y1="11" y2="11" />
        <circle class="score" cx=${at(row.score)} cy="11" r="4.5" />`}
      ${row.threshold !== null && html`
        <line class="threshold" x1=${at(row.threshold)} x2=${at(row.threshold)} y1="2" y2="20" />`}
    </svg>`;
}
