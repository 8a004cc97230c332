// What a request did and when: one row for each step, as Temporal's history of the request has them.
import { getTimeline, said } from "./api.js";
import { duration } from "./format.js";
import { html } from "./html.js";
import { never, useReading } from "./reading.js";

// By activity: whose work it is, and what it is called.
const KINDS = {
  generate_insight: ["llm", "Large model writes"],
  answer_alone: ["llm", "Large model answers alone"],
  wait_for_stage: ["scorer", "Wait for"],
  wait_and_score: ["scorer", "Score"],
  all_scoring_passes: ["other", "Count the scores"],
  all_prefill_passes: ["other", "Count what was read ahead"],
  execute: ["slm", "Small model answers"],
  check: ["check", "Check the answer"],
  settle_lost_usage: ["other", "Settle lost tokens"],
};
const LEGEND = [["llm", "large model"], ["slm", "small model"], ["scorer", "wait and score"], ["check", "checks"], ["decision", "decision"]];
const STAGED = new Set(["wait_for_stage", "wait_and_score", "execute"]);
/** The axis has this many parts at most, each 1, 2 or 5 times a power of ten of milliseconds. */
const PARTS = 5;
/** Further right, the text of a mark would leave the axis. */
const LAST_MARK = 0.93;

export function Waterfall({ id, result, jaeger }) {
  const { found: timeline, error } = useReading(() => getTimeline(id), id, never);
  if (error) return html`<section class="waterfall"><h2>Steps</h2><p class="note">${said(error)}</p></section>`;
  if (!timeline) return null;
  return html`
    <section class="waterfall" aria-labelledby="steps-title">
      <header>
        <h2 id="steps-title">Steps</h2>
        <span class="legend" aria-hidden="true">${LEGEND.map(([role, label]) => html`<span class=${role}>${label}</span>`)}</span>
      </header>
      <${Rows} timeline=${timeline} decision=${after(timeline.taken, result.timings_ms.decision)} />
      <p class="note">
        From Temporal's history of the request: a step is a call of a service, with the time that it waited before it began.
        ${" "}${result.trace_id && jaeger
          ? html`<a href=${`${jaeger.replace(/\/$/, "")}/trace/${result.trace_id}`} rel="noreferrer" target="_blank">The trace in Jaeger</a> has every call below.`
          : ""}
      </p>
    </section>`;
}

/** A result's times count from where a worker took the request. */
const after = (taken, ms) => (taken === null || ms === null ? null : taken + ms);

function Rows({ timeline, decision }) {
  const whole = Math.max(timeline.duration_ms ?? 0, ...timeline.steps.map((step) => step.ended ?? step.scheduled)) || 1;
  const at = (ms) => `${(ms / whole) * 100}%`;
  const ticks = marks(whole);
  return html`
    <div class="steps" role="table" aria-label="Steps">
      <div role="row" class="axis">
        <span role="columnheader" class="step-name"><span class="unseen">Step</span></span>
        <span role="columnheader" class="track"><span class="unseen">From</span>
          ${ticks.filter((ms) => ms <= whole * LAST_MARK).map((ms) => html`<i class="time" aria-hidden="true" style=${{ left: at(ms) }}>${duration(ms)}</i>`)}</span>
        <span role="columnheader" class="took">Took</span>
      </div>
      ${timeline.steps.map((step) => html`<${Row} ...${{ step, whole, at, ticks, decision }} />`)}
    </div>`;
}

function Row({ step, whole, at, ticks, decision }) {
  const [role, label] = KINDS[step.name] ?? ["other", step.name.replaceAll("_", " ")];
  const from = step.started ?? step.scheduled;
  const to = step.ended ?? whole;
  const stage = STAGED.has(step.name) && step.stage !== null ? where(step) : "";
  const told = [step.attempts > 1 && `${step.attempts} attempts`, step.outcome !== "completed" && step.outcome.replaceAll("_", " ")];
  return html`
    <div role="row" class=${`step ${role} ${step.outcome}`}>
      <span role="rowheader" class="step-name">${label}${" "}<span>${stage}</span>
        ${told.filter(Boolean).map((text) => html`${" "}<em>${text}</em>`)}</span>
      <span role="cell" class="track"><span class="unseen">${duration(from)}</span>
        ${ticks.map((ms) => html`<i class="tick" style=${{ left: at(ms) }} />`)}
        ${decision !== null && html`<i class="decision" style=${{ left: at(decision) }} />`}
        <i class="waited" style=${{ left: at(step.scheduled), width: at(from - step.scheduled) }} />
        <i class="bar" style=${{ left: at(from), width: at(Math.max(to - from, 0)) }} /></span>
      <span role="cell" class="took">${duration(to - from)}</span>
    </div>`;
}

function where({ name, stage }) {
  if (name === "execute") return stage ? `from stage ${stage}` : "the question alone";
  return stage ? `stage ${stage}` : "the question alone";
}

function marks(whole) {
  const power = 10 ** Math.floor(Math.log10(whole / PARTS));
  const part = [1, 2, 5, 10].map((factor) => factor * power).find((size) => whole / size <= PARTS);
  return Array.from({ length: Math.floor(whole / part) + 1 }, (_, index) => index * part);
}
