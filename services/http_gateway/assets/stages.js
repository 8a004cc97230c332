// Each stage's score against its threshold, on a scale from 0 to 1.
import { isOfTools } from "./calls.js";
import { count, score } from "./format.js";
import { html } from "./html.js";
import { author } from "./live.js";

/** After these stops a later stage could have changed nothing. */
const SUFFICES = new Set(["sufficient", "verified"]);

export function Stages({ state, profile }) {
  const rows = planned(state, profile).filter(hasGauge);
  const isOver = state.phase !== "running";
  if (!rows.some((row) => row.score !== null || isUsed(row, state) || (!isOver && isAwaited(state)))) return null;
  const isTrained = rows.find((row) => row.scorer)?.trained ?? true;
  return html`
    <details class="stages" open>
      <summary><h2>Stages</h2>
        <span class="note">score against threshold${isTrained ? "" : ", by an untrained rule"}</span></summary>
      <ol>
        ${rows.map((row) => html`
          <li key=${row.stage} class=${[status(row, state), isUsed(row, state) && "used"].filter(Boolean).join(" ")}>
            <span class="stage-name">${title(row)} <span>${row.name}</span></span>
            <${Scale} row=${row} />
            <span class="stage-score">${row.score === null
              ? row.threshold !== null && `threshold ${score(row.threshold)}`
              : html`<b>${score(row.score)}</b> of ${score(row.threshold)}`}</span>
            <span class="stage-note">${note(row, state)}</span>
          </li>`)}
      </ol>
    </details>`;
}

const title = ({ stage }) => stage ? html`<i>Stage </i>${stage}` : html`Question<i> alone</i>`;

/** Whether scores may come: none do of a chat, whose stages end all the same. */
const isAwaited = ({ accepted }) => !["insight", "message"].includes(accepted?.answer_text);

/** A threshold of 1 is not reached: such a stage is never scored, and a gauge of it would never move. Nor would one without a threshold. */
const hasGauge = ({ score, threshold }) => score !== null || (threshold !== null && threshold < 1);

/** What has happened of each stage, and those that may come or might have. */
function planned({ stages, accepted, result }, profile) {
  const most = accepted?.stages ?? (result && isOfTools(result) ? 0 : Infinity);
  const possible = [{ name: "", threshold: null }, ...(profile?.stages ?? []).slice(0, most)];
  const coming = possible.map((one, stage) => ({ ...one, stage, score: null, isComing: true }));
  const missing = coming.filter(({ stage }) => !stages.some((known) => known.stage === stage));
  const named = stages.map((stage) => ({ ...stage, threshold: stage.threshold ?? possible[stage.stage]?.threshold ?? null, name: stage.stage ? stage.name : "" }));
  return [...named, ...missing].sort((a, b) => a.stage - b.stage);
}

function status(row, state) {
  if (row.isComing) return "coming";
  if (row.sufficient && !isLate(row, state)) return "sufficient";
  return row.score === null && !state.result ? "scoring" : "";
}

/** The small model answered from it. The large model's own answer is of no stage. */
const isUsed = (row, { result }) => author(result).endsWith("slm") && result.stop.stage === row.stage;

/** Its score came when the request had gone on without it. */
const isLate = (row, state) => row.sufficient && state.result !== null && !isUsed(row, state);

function note(row, state) {
  const tokens = row.tokens ? `${count(row.tokens)} tokens` : "";
  return [tokens, outcome(row, state)].filter(Boolean).join(", ");
}

function outcome(row, state) {
  const isOver = state.stop || state.phase !== "running";
  if (isUsed(row, state)) return row.score === null ? "used, not scored" : row.sufficient ? "suffices" : "used";
  if (isLate(row, state)) return "not used";
  if (row.score !== null) return row.sufficient ? "suffices" : "goes on";
  if (!row.isComing) return state.phase === "running" ? "" : "not scored";
  return isOver ? missed(row, state) : "";
}

/** Why there is no score of a stage: it was passed without one, or the end came before it. */
function missed(row, { stop, result }) {
  if (!row.stage || row.stage < result?.stop.stage) return "not scored";
  if (SUFFICES.has(result?.stop.reason ?? stop?.reason)) return "not needed";
  return result?.usage.llm.output_tokens >= row.max_tokens ? "not scored" : "not reached";
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
