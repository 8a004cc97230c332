// Plan: would a pair pay? Sliders for its figures; the answer is that of `tandem plan` for the same figures.
import { getPlan, said } from "./api.js";
import { between, percent } from "./format.js";
import { html, Scroll, useEffect, useState } from "./html.js";
import { PayoffMap } from "./payoff_map.js";
import { never, PAUSE_MS, useReading } from "./reading.js";

const GOAL = 0.05;
/** Where no profile was measured: a pair that is about to pay. */
const USUAL = { small: 0.5, large: 0.7, both: 0.42, ratio: 8, check: 0, auroc: 0.7 };
const SLIDERS = [
  ["small", "Small model right", 0.01, 0.99, 0.01, percent],
  ["large", "Large model right", 0.01, 0.99, 0.01, percent],
  ["both", "Both right", 0, 0.99, 0.01, percent],
  ["ratio", "Cost of a large answer : of a small one", 0, 2, 0.01, (value) => value.toPrecision(value < 10 ? 2 : 3)],
  ["check", "Tasks with a check", 0, 1, 0.01, percent],
  ["auroc", "AUROC of a score of the small answer", 0.5, 1, 0.01, (value) => value.toFixed(2)],
];
const POLICIES = {
  cascade: "A score of the small model's answer decides",
  check: "A check decides, else the score",
  check_all: "The policy that ships: a check decides, every failure goes to the large model",
};
/** Sliders of a ratio move by its logarithm. */
const SCALES = { ratio: [Math.log10, (value) => 10 ** value] };
const same = [(value) => value, (value) => value];

export function Plan({ query, served }) {
  const measured = measuredOf(served);
  const [pair, setPair] = useState(null);
  const isKnown = served.profiles.length > 0;
  useEffect(() => isKnown && setPair(asked(query, measured ?? USUAL)), [String(query), isKnown]);
  const { found, error } = useReading((signal) => getPlan(pair, signal), pair, never, PAUSE_MS);
  if (!pair) return html`<h1>Plan</h1>`;
  const change = (name, value) => {
    const next = within({ ...pair, [name]: value });
    setPair(next);
    history.replaceState(null, "", `#/plan?${new URLSearchParams(next)}`);
  };
  return html`
    <h1>Plan</h1>
    ${!measured && html`<p class="note">Nothing was measured of ${served.default_profile}: these figures are an example, and not that pair's. Set its own, or
      find them with <code>tandem collect</code> and <code>tandem plan</code>.</p>`}
    <div class="plan">
      <form aria-label="Figures of the pair" onSubmit=${(event) => event.preventDefault()}>
        ${SLIDERS.map((slider) => html`<${Slider} ...${{ slider, pair, change }} />`)}
      </form>
      <section aria-labelledby="verdict">
        ${error && html`<p class="problem" role="alert">${said(error)}</p>`}
        ${found && html`<${Verdict} found=${found} measured=${measured} /><${PayoffMap} pair=${pair} saving=${found.saving} />`}
      </section>
    </div>
    ${found && html`<${Tables} found=${found} />`}
    <p class="note">
      Costs are of the large model's own answer. The forecast takes checks to be as frequent among hard tasks as among easy ones, and
      costs to be means; what was measured says more. A check passes 97 % of the right answers and 6 % of the wrong ones; the score is
      taken to tell nothing of the large model, which is optimistic.
      The same in the terminal, where <code>--n</code> adds intervals and a file of <code>tandem collect</code> measures all figures:
    </p>
    <${Scroll} label="Command"><p class="code command">${command(pair)}</p><//>`;
}

function Tables({ found: { policies, effects } }) {
  return html`
    <div class="tables">
      <${Scroll} label="Policies"><table class="sums">
        <caption>Policies</caption>
        <thead><tr><th scope="col">Policy</th><th scope="col">Cost</th><th scope="col">Right</th></tr></thead>
        <tbody>${Object.entries(policies).map(([name, { cost, accuracy }]) => html`
          <tr><th scope="row">${POLICIES[name]}</th><td>${percent(cost)}</td><td>${(accuracy * 100).toFixed(1)} %</td></tr>`)}</tbody>
      </table><//>
      <${Scroll} label="Levers"><table class="sums">
        <caption>What would save more</caption>
        <thead><tr><th scope="col">Lever</th><th scope="col">Change</th><th scope="col">Points</th></tr></thead>
        <tbody>${effects.map(({ lever, change, saving }) => html`
          <tr><th scope="row">${lever}</th><td>${change}</td><td>${(Math.round(1000 * saving) / 10).toFixed(1)}</td></tr>`)}</tbody>
      </table><//>
    </div>`;
}

function Slider({ slider: [name, label, low, high, step, text], pair, change }) {
  const [to, from] = SCALES[name] ?? same;
  const [least, most] = name === "both" ? bounds(pair) : [low, high];
  return html`
    <label class="slider">
      <span>${label}</span><b aria-hidden="true">${text(pair[name])}</b>
      <input type="range" min=${least} max=${most} step=${step} value=${to(pair[name])} aria-valuetext=${text(pair[name])}
        onInput=${(event) => change(name, from(Number(event.target.value)))} />
    </label>`;
}

/** What ships first: forecast for these figures, and measured where it was. */
function Verdict({ found: { policies, saving }, measured }) {
  const ships = policies.check_all ? 1 - policies.check_all.cost : 0;
  const pays = saving >= GOAL;
  return html`
    <div role="status"><dl class="figures">
      <div><dt>The policy that ships saves, forecast</dt><dd class="lead">${percent(ships)}</dd></div>
      ${measured && html`
        <div><dt>Measured: ${measured.data}, n = ${measured.n}, ${measured.engine}</dt>
          <dd>${percent(1 - measured.cost)}<span class="interval">${between(1 - measured.cost_high, 1 - measured.cost_low, percent)}</span></dd></div>`}
      <div><dt id="verdict">${pays ? "It pays. The cheapest policy saves" : "It does not pay. The cheapest policy saves"}</dt>
        <dd>${percent(saving)}</dd></div>
    </dl></div>`;
}

const measuredOf = ({ profiles, default_profile: name }) => {
  const { measured } = profiles.find((profile) => profile.name === name) ?? {};
  return measured?.n ? measured : null;
};

/** The figures that the address holds, the others as in `start`. */
function asked(query, start) {
  const known = SLIDERS.map(([name]) => [name, Number.parseFloat(query.get(name))]).filter(([, value]) => Number.isFinite(value));
  return within({ ...start, ...Object.fromEntries(known) });
}

/** Range of the share that both answer right. */
const bounds = ({ small, large }) => [Math.max(0, small + large - 1), Math.min(small, large)];

/** `both` moves along where the accuracies leave it no room. */
function within(pair) {
  const clip = (value, low, high) => Math.min(high, Math.max(low, value));
  const small = clip(pair.small, 0.01, 0.99);
  const large = clip(pair.large, 0.01, 0.99);
  return {
    small, large, both: clip(pair.both, ...bounds({ small, large })), ratio: clip(pair.ratio, 1, 100),
    check: clip(pair.check, 0, 1), auroc: clip(pair.auroc, 0.5, 1),
  };
}

const short = (value) => String(Number(value.toFixed(4)));

const command = ({ small, large, both, ratio, check, auroc }) =>
  `tandem plan --small ${short(small)} --large ${short(large)} --both ${short(both)} --price-ratio ${short(ratio)} ` +
  `--check-share ${short(check)} --auroc ${short(auroc)}`;
