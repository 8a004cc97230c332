// What the models write: the answer, with who wrote each part of it, and beside it the insight.
import { Calls } from "./calls.js";
import { Code } from "./code.js";
import { count, duration, reason, score } from "./format.js";
import { html } from "./html.js";
import { parts, pieces, roleName, textOf, writer } from "./live.js";
import { Markdown } from "./markdown.js";


/** A text by one or both models; each part says whose it is. */
export function Written({ parts: written, isCode }) {
  return written.map(({ by, text }) => html`
    <div class=${`part-of ${by}`}>
      ${written.length > 1 && html`<p class="by">${roleName(by)} model</p>`}
      ${isCode && !text.includes("\`\`\`") ? html`<${Code} text=${text.trim()} language="python" />` : html`<${Markdown} text=${text} />`}
    </div>`);
}

export function Answer({ state, profile, isCode, children }) {
  const { result, answer, insight, drafts } = state;
  const by = writer(state);
  const written = parts(state);
  const isWriting = state.phase === "running" && written.length > 0;
  const model = by && (result?.usage[by].model || profile?.[by]);
  const tokens = result ? result.usage[by || "slm"].output_tokens : (by === "llm" ? insight : answer).tokens;
  const aside = [...drafts, ...setAside(state)];
  return html`
    <section class=${`pane answer ${by}`} aria-labelledby="answer-title">
      <header>
        <h2 id="answer-title">Answer</h2>
        <span class="model">${by && `by the ${written.length > 1 ? "large and the small model" : `${roleName(by)} model`}, `}<span>${model}</span></span>
        <span class="figure">${count(tokens)} tokens</span>
      </header>
      ${aside.map((draft, index) => html`
        <details class="draft"><summary>Trial ${index + 1} of the small model, set aside</summary><p class="plain">${draft}</p></details>`)}
      <div class="text">
        <${Written} parts=${written} isCode=${isCode} />
        ${isWriting && html`<span class="caret" aria-hidden="true"></span>`}
        ${!written.length && !result && state.phase === "running" && html`<p class="none">${waiting(state)}</p>`}
        <${Calls} calls=${result?.tool_calls ?? []} />
        ${(state.phase === "failed" || (result && !result.answer && !result.tool_calls.length)) && html`<p class="none">There is no answer.</p>`}
      </div>
      <${Ending} state=${state} />
      ${children}
    </section>`;
}

const waiting = ({ insight }) =>
  insight.tokens ? "The large model writes; the small one answers as soon as that suffices." : "The models are at work.";

/** What the small model wrote last, where the answer is another one. */
function setAside({ result, answer }) {
  const written = answer.text.trim();
  if (!result || !written || written.includes(textOf(result)) || textOf(result).includes(written)) return [];
  return [answer.text];
}

export function Insight({ state, profile, isCode }) {
  const isWriting = state.phase === "running" && !state.stop && !state.answer.tokens;
  const isAnswer = writer(state) === "llm";
  if (!state.insight.text && state.phase !== "running") return null;
  if (isAnswer && parts(state).some(({ text }) => text.trim() === state.insight.text.trim())) return null; // it stands there already
  return html`
    <details class="pane insight llm" open=${!isAnswer}>
      <summary><h2>${isAnswer ? "As it was written" : "Insight"}</h2>
        <span class="model">${state.result?.usage.llm.model || profile?.llm}</span>
        <span class="figure">${count(state.insight.tokens)} tokens</span></summary>
      <div class=${`text${isCode ? " code" : ""}`} tabindex="0" role="group" aria-label="Insight, text">
        ${pieces(state).map(({ text, stage, isOverrun }) => html`
          <span class=${isOverrun ? "overrun" : undefined}>${text}</span>${stage && html`<span class="stage-end"><span class="unseen">stage </span>${stage.stage}<span class="unseen"> ends here</span></span>`}`)}
        ${isWriting && html`<span class="caret" aria-hidden="true"></span>`}
        ${!state.insight.text && html`<span class="none">The large model has written nothing yet.</span>`}
      </div>
    </details>`;
}

/** The moment of the stop, and what followed. */
function Ending({ state }) {
  const { stop, result, stages, phase, error } = state;
  if (phase === "failed" || error) return html`<p class="ending problem"><b>The request failed.</b> ${error}</p>`;
  const why = result?.stop.reason ?? stop?.reason;
  if (!why) return null;
  const decisive = stages.find((stage) => stage.stage === (result?.stop.stage ?? stages.findLast((s) => s.sufficient)?.stage));
  const isScored = why === "sufficient" && decisive?.score !== null && decisive !== undefined;
  const halted = stop?.cancel_latency_ms ?? result?.timings_ms.cancel;
  const overrun = stop?.overrun_tokens ?? result?.usage.llm.overrun_tokens;
  return html`
    <div class=${`ending${why === "llm_unavailable" ? " problem" : ""}`}>
      <p><b>${reason(why)}</b>${isScored ? `: ${score(decisive.score)}, with a threshold of ${score(decisive.threshold)}` : ""}.</p>
      ${result && !result.complete && html`<p>The answer was cut at its limit.</p>`}
      ${halted !== null && halted !== undefined && html`
        <p>The large model halted ${duration(halted)} after the decision, ${count(overrun)} ${overrun === 1 ? "token" : "tokens"} too late.</p>`}
      ${result?.policy_step > 0 && html`
        <p>The policy is ${result.policy_step === 1 ? "1 step" : `${count(result.policy_step)} steps`} stricter than calibrated: outcomes say that more was lost than promised.</p>`}
      ${result?.notes.map((note) => html`<p>${note}</p>`)}
    </div>`;
}
