// What the two models write, side by side.
import { count, duration, reason, score } from "./format.js";
import { html } from "./html.js";
import { author, pieces } from "./live.js";

export function Insight({ state, profile, isCode }) {
  const isWriting = state.phase === "running" && !state.stop && !state.answer.tokens;
  return html`
    <${Pane} role="llm" title="Insight" model=${state.result?.usage.llm.model || profile?.llm} tokens=${state.insight.tokens}
      isCode=${isCode}>
      ${pieces(state).map(({ text, stage, isOverrun }) => html`
        <span class=${isOverrun ? "overrun" : undefined}>${text}</span>${stage && html`<span class="stage-end"><span class="unseen">stage </span>${stage.stage}<span class="unseen"> ends here</span></span>`}`)}
      ${isWriting && html`<span class="caret" aria-hidden="true"></span>`}
      ${!state.insight.text && !isWriting && html`<span class="none">The large model was not asked.</span>`}
    <//>`;
}

export function Answer({ state, profile, isCode }) {
  const { result, answer } = state;
  const isWriting = state.phase === "running" && answer.tokens > 0;
  const { drafts, text } = shown(state);
  const isLlms = author(result) === "llm";
  const model = result?.usage[isLlms ? "llm" : "slm"].model || profile?.slm;
  const isShort = result?.answer && !isCode && result.answer.length <= 80 && result.answer.trim() !== text.trim();
  return html`
    <${Pane} role="slm" title="Answer" model=${model} tokens=${isLlms ? result.usage.llm.output_tokens : answer.tokens} isCode=${isCode}
      foot=${html`${isShort && html`<p class="final"><span>Final answer</span>${result.answer}</p>`}<${Ending} state=${state} />`}>
      ${drafts.map((draft, index) => html`
        <details class="draft"><summary>Trial ${index + 1}, set aside</summary>${draft}</details>`)}
      ${text}
      ${isWriting && html`<span class="caret" aria-hidden="true"></span>`}
      ${!text && !result && html`<span class="none">Waits for an insight that suffices.</span>`}
    <//>`;
}

/** What was written last is the answer, unless the result has another one: the large model's, or an earlier trial's. */
function shown({ result, answer, drafts }) {
  const written = answer.text.trim();
  const isUsed = !result || (written && (written.includes(result.answer) || result.answer.includes(written)));
  if (isUsed) return { drafts, text: answer.text };
  return { drafts: written ? [...drafts, answer.text] : drafts, text: result.answer };
}

function Pane({ role, title, model, tokens, isCode, foot, children }) {
  return html`
    <section class=${`pane ${role}`} aria-labelledby=${`${role}-title`}>
      <header>
        <h2 id=${`${role}-title`}>${title}</h2>
        <span class="model">${model}</span>
        <span class="figure">${count(tokens)} tokens</span>
      </header>
      <div class=${`text${isCode ? " code" : ""}`} tabindex="0" role="group" aria-label=${`${title}, text`}>${children}</div>
      ${foot}
    </section>`;
}

/** The moment of the stop, and what followed. */
function Ending({ state }) {
  const { stop, result, stages, phase, error } = state;
  if (phase === "failed" || error) return html`<p class="ending problem">${error}</p>`;
  const why = result?.stop.reason ?? stop?.reason;
  if (!why) return null;
  const decisive = stages.find((stage) => stage.stage === (result?.stop.stage ?? stages.findLast((s) => s.sufficient)?.stage));
  const isScored = why === "sufficient" && decisive?.score !== null && decisive !== undefined;
  const halted = stop?.cancel_latency_ms ?? result?.timings_ms.cancel;
  const overrun = stop?.overrun_tokens ?? result?.usage.llm.overrun_tokens;
  return html`
    <div class="ending">
      <p><b>${reason(why)}</b>${isScored ? `: ${score(decisive.score)} of ${score(decisive.threshold)}` : ""}.</p>
      ${halted !== null && halted !== undefined && html`
        <p>The large model halted ${duration(halted)} after the decision, ${count(overrun)} ${overrun === 1 ? "token" : "tokens"} too late.</p>`}
      ${result?.notes.map((note) => html`<p>${note}</p>`)}
    </div>`;
}
