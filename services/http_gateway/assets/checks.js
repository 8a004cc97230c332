// What checks said of the answers.
import { html } from "./html.js";

const SIGNS = { pass: "✓", fail: "✗", unknown: "?", error: "!" };

export function Checks({ checks, trials, isRunning }) {
  if (!checks.length) return null;
  return html`
    <section class="checks" aria-labelledby="checks-title">
      <h2 id="checks-title">Checks</h2>
      <ol>
        ${checks.map((check) => html`
          <li class=${check.verdict}>
            <span class="sign" aria-hidden="true">${SIGNS[check.verdict] ?? "?"}</span>
            <span><b>${check.verdict}</b> ${check.name.replaceAll("_", " ")}
              <span class="note">${where(check, trials)}</span></span>
            ${check.detail && html`<span class="detail">${check.detail}</span>`}
          </li>`)}
      </ol>
      ${isRunning && html`<p class="note">More may follow.</p>`}
    </section>`;
}

function where({ trial, stage, role }, trials) {
  if (!trial) return role === "llm" ? "large model's answer" : `answer from stage ${stage}`;
  const isRepair = trials.find(({ number }) => number === trial)?.repair;
  return `trial ${trial}${isRepair ? ", a repair" : ""}, from stage ${stage}`;
}
