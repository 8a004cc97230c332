// What a request costs: while it runs, and in full.
import { between, count, duration, percent, usd, usdColumn } from "./format.js";
import { html, Scroll } from "./html.js";
import { alone, roleName, spent } from "./live.js";

/** Null where an amount is not known. */
const sumOf = (...amounts) => (amounts.includes(null) ? null : amounts.reduce((whole, amount) => whole + amount, 0));

export function Running({ state, profile, task }) {
  const now = spent(state, profile?.prices);
  const total = state.result ? state.result.cost.usd : sumOf(now.llm, now.slm);
  const estimate = alone(state, profile, task);
  const scale = Math.max(total, estimate) || 1;
  const cost = state.result?.cost;
  const mark = cost?.llm_alone_is_exact ? "" : ", estimated";
  const isCounted = state.result || total !== 0;
  return html`
    <section class="running" aria-labelledby="running-title">
      <h2 id="running-title">Bill</h2>
      <dl>
        <dt>${state.result ? "This request" : "Generated so far"}</dt><dd class="amount" data-testid="bill">${isCounted ? usd(total) : "–"}</dd>
        <${Bar} parts=${[["llm", now.llm], ["slm", now.slm], ["scorer", total === null ? 0 : total - now.llm - now.slm]]} scale=${scale} />
        <dt>Large model alone${mark}</dt>
        <dd>${usd(estimate)}${cost && html`<span class="interval">${between(cost.usd_llm_alone_low, cost.usd_llm_alone_high, usd)}</span>`}</dd>
        <${Bar} parts=${[["alone", estimate]]} scale=${scale} />
        ${cost && html`<dt>Saved${cost.saved_ratio === null ? "" : mark}</dt><dd><b>${percent(cost.saved_ratio)}</b><span class="interval">${savedBetween(cost)}</span></dd>`}
      </dl>
      ${total === null && html`<p class="note">The price of a model is not known.</p>`}
      ${Object.values(state.result?.usage ?? {}).some((usage) => usage.is_estimated) && html`<p class="note">Estimated: an API reported no usage.</p>`}
      ${state.result && cost.saved_ratio === null && html`<p class="note">Nothing is counted as saved: ${state.result.stop.reason === "llm_unavailable" ? "the large model failed" : "the answer is not complete"}.</p>`}
      ${cost?.usd_llm_alone_low > 0 && html`<p class="note">In brackets: 19 of 20 such answers cost so much.</p>`}
      ${!state.result && html`<p class="note">${isCounted ? "" : "Nothing that the models write has come yet. "}What they read is added at the end.</p>`}
    </section>`;
}

/** What was saved if the large model alone had cost as little, or as much, as the estimate allows. */
function savedBetween({ usd: paid, saved_ratio: saved, usd_llm_alone_low: low, usd_llm_alone_high: high }) {
  return saved === null || !low || !high ? "" : between(1 - paid / low, 1 - paid / high, percent);
}

function Bar({ parts, scale }) {
  let from = 0;
  return html`
    <svg class="bar" height="8" aria-hidden="true">
      ${parts.map(([name, value]) => {
        const x = from;
        from += (Math.max(value, 0) / scale) * 100;
        return html`<rect class=${name} x=${`${x}%`} width=${`${from - x}%`} height="8" />`;
      })}
    </svg>`;
}

const STATES = [
  ["input_tokens", "Read"],
  ["cached_input_tokens", "From cache"],
  ["cache_write_tokens", "Of read: put into a cache"],
  ["cache_write_hour_tokens", "for an hour"],
  ["output_tokens", "Written"],
  ["overrun_tokens", "Overrun"],
  ["discarded_tokens", "Discarded"],
];
const TIMES = [
  ["first_insight", "First insight token"],
  ["decision", "Decision"],
  ["cancel", "Decision to halt"],
  ["first_answer_token", "Decision to first answer token"],
  ["total", "Whole request"],
];

/** Rows of these are there where a request has such tokens, as are those of states that this page has no words for. */
const RARE = ["cache_write_tokens", "cache_write_hour_tokens"];
const statesOf = (roles, usage) => {
  const named = STATES.map(([name]) => name);
  const others = Object.keys(usage[roles[0][0]]).filter((name) => name.endsWith("_tokens") && !named.includes(name));
  const isShown = ([name]) => ![...RARE, ...others].includes(name) || sum(roles, usage, name);
  return [...STATES, ...others.map((name) => [name, name.replace("_tokens", "").replaceAll("_", " ")])].filter(isShown);
};

/** A column for each role that the profile has: Large, Small, Scorer, Second, ... */
const rolesOf = ({ usage }) => Object.keys(usage).filter((role) => usage[role].model).map((role) => [role, heading(role)]);
const heading = (role) => {
  const [first] = roleName(role).split(" ");
  return first[0].toUpperCase() + first.slice(1);
};
const sum = (roles, usage, name) => roles.reduce((whole, [role]) => whole + usage[role][name], 0);

/** Tokens by role and state, times, and where the trace is. */
export function Bill({ result, jaeger, isOpen }) {
  const { usage, cost, timings_ms: times } = result;
  const roles = rolesOf(result);
  const inUsd = usdColumn([...Object.values(cost.usd_by_role), cost.usd]);
  return html`
    <details class="bill" open=${isOpen}>
      <summary><h2>Bill by role and state</h2></summary>
      <div class="account">
        <${Scroll} label="Tokens by role and state">
          <table>
            <thead><tr><th scope="col">Tokens</th>
              ${roles.map(([role, label]) => html`<th scope="col" class=${role}>${label}</th>`)}<th scope="col">All</th></tr></thead>
            <tbody>
              ${statesOf(roles, usage).map(([name, label]) => html`
                <tr><th scope="row">${label}</th>
                  ${[...roles.map(([role]) => usage[role][name]), sum(roles, usage, name)].map((tokens) => html`
                    <td class=${tokens ? "" : "zero"}>${count(tokens)}</td>`)}</tr>`)}
            </tbody>
            <tfoot><tr><th scope="row">USD</th>
              ${[...roles.map(([role]) => cost.usd_by_role[role]), cost.usd].map((value) => html`
                <td>${inUsd(value).replace("$", "")}</td>`)}</tr></tfoot>
          </table>
        <//>
        <table>
          <thead><tr><th scope="colgroup" colspan="2">Time</th></tr></thead>
          <tbody>${TIMES.map(([name, label]) => html`
            <tr><th scope="row">${label}</th><td>${duration(times[name])}</td></tr>`)}</tbody>
        </table>
      </div>
      <p class="note">
        Request <code>${result.request_id}</code>, prices <code>${cost.price_version}</code>${result.attempts > 1 && `, ${result.attempts} attempts`}.
        ${" "}${result.trace_id && jaeger
          ? html`<a href=${`${jaeger.replace(/\/$/, "")}/trace/${result.trace_id}`} rel="noreferrer" target="_blank">Trace in Jaeger</a>`
          : result.trace_id && html`Trace <code>${result.trace_id}</code>`}
      </p>
    </details>`;
}
