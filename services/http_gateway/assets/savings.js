// Savings: what requests cost, what the large model alone would have cost, how long they took, and what is said of their answers.
import { getRequests, said } from "./api.js";
import { Chart } from "./chart.js";
import { count, duration, ending, percent, usd, usdColumn } from "./format.js";
import { Cells, html, Scroll } from "./html.js";
import { Outcomes } from "./outcomes.js";
import { never, useReading } from "./reading.js";
import { condition, ESTIMATED } from "./requests.js";
import { by, latencies, latencyPoints, points, QUANTILES, quantile, timed, total } from "./sums.js";

const LIMIT = 1000;
const PERIODS = [["24", "1 day"], ["168", "7 days"], ["720", "30 days"], ["", "all"]];

const costs = (mark) => [{ label: "Cost", name: "--slm" }, { label: `Large model alone${mark}`, name: "--llm", dash: [5, 4] }];
const LATENCY = [{ label: "p50", name: "--ink" }, { label: "p95", name: "--muted", dash: [5, 4] }];

export function Savings({ query, served }) {
  const filter = { since: "168", ...Object.fromEntries(query) };
  const { found, error } = useReading(() => getRequests(condition(filter), LIMIT), filter, never);
  return html`
    <${Heading} ...${{ filter, served }} />
    ${error && html`<p class="problem" role="alert">${said(error)}</p>`}
    ${found && html`<${Figures} requests=${found.requests} />`}
    <${Outcomes} tenant=${filter.tenant} profile=${filter.profile} />`;
}

/** Tenant, profile and period are in the address. */
function Heading({ filter, served }) {
  const address = (changed) => `#/savings?${new URLSearchParams({ ...filter, ...changed })}`;
  const change = (name) => (event) => (location.hash = address({ [name]: event.target.value.trim() }));
  return html`
    <div class="heading">
      <h1>Savings</h1>
      <form class="controls" role="search" aria-label="Filter" onSubmit=${(event) => event.preventDefault()}>
        <label class="field"><span>Tenant</span>
          <input class="short" value=${filter.tenant ?? ""} onChange=${change("tenant")} autocomplete="off" placeholder="all" /></label>
        <label class="field"><span>Profile</span>
          <select value=${filter.profile ?? ""} onChange=${change("profile")}>
            ${["", ...served.profiles.map(({ name }) => name)].map((name) => html`<option value=${name}>${name || "all"}</option>`)}
          </select></label>
        <nav class="segments" aria-label="Period">
          ${PERIODS.map(([value, label]) => html`
            <a href=${address({ since: value })} aria-current=${value === filter.since ? "true" : undefined}><span>${label}</span></a>`)}
        </nav>
      </form>
    </div>`;
}

function Figures({ requests }) {
  const all = total(requests);
  if (!all.count) return html`<p class="empty">No request of this period has been answered to its end. <a href="#/ask">Ask one.</a></p>`;
  const timings = timed(requests);
  const mark = all.isEstimated ? ", estimated" : "";
  return html`
    <dl class="figures">
      <div><dt>Saved${mark}</dt><dd class="lead">${percent(all.saved)}</dd></div>
      <div><dt>Cost</dt><dd>${usd(all.usd)}</dd></div>
      <div><dt>Large model alone${mark}</dt><dd>${usd(all.alone)}</dd></div>
      <div><dt>Requests</dt><dd>${count(all.count)}</dd></div>
    </dl>
    <${Chart} points=${points(requests)} lines=${costs(mark)} value=${usd} axis=${(ticks) => usdColumn(ticks, 1)}
      label=${`Cost over time: ${usd(all.usd)} in all, ${usd(all.alone)} by the large model alone`} />
    <div class="tables">
      <${Group} title="By profile" groups=${by(requests, ({ profile }) => profile)} />
      <${Group} title="By tenant" groups=${by(requests, ({ tenant }) => tenant || "–")} />
      <${Reasons} groups=${by(requests, ({ reason }) => ending(reason))} all=${all.count} />
    </div>
    <p class="note">${[
      all.isEstimated && ESTIMATED, "Only complete answers are counted.", left(all),
      requests.length === LIMIT && `Only the newest ${count(LIMIT)} requests are counted.`,
    ].filter(Boolean).join(" ")}</p>
    <h2 class="part">Time from question to answer</h2>
    <dl class="figures">${QUANTILES.map(([name, share]) => html`
      <div><dt>${name}</dt><dd>${duration(quantile(timings, share))}</dd></div>`)}</dl>
    <${Chart} points=${latencyPoints(requests)} lines=${LATENCY} value=${duration} axis=${() => duration}
      label=${`Time over the period: p50 ${duration(quantile(timings, 0.5))}, p95 ${duration(quantile(timings, 0.95))}`} />
    <div class="tables">
      <${Latencies} title="Time by profile" groups=${latencies(requests, ({ profile }) => profile)} />
      <${Latencies} title="Time by tenant" groups=${latencies(requests, ({ tenant }) => tenant || "–")} />
    </div>`;
}

function Sums({ title, heads, rows, isStacked }) {
  return html`
    <${Scroll} label=${title}><table class=${isStacked ? "sums stacked" : "sums"}>
      <caption>${title}</caption>
      <thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
      <tbody>${rows.map((cells) => html`<tr><${Cells} ...${{ heads, cells }} /></tr>`)}</tbody>
    </table><//>`;
}

function Latencies({ title, groups }) {
  const heads = ["Name", "Requests", ...QUANTILES.map(([name]) => name)];
  const rows = groups.map(([name, members]) =>
    [name, count(members.length), ...QUANTILES.map(([, share]) => duration(quantile(members, share)))]);
  return html`<${Sums} ...${{ title, heads, rows }} />`;
}

function left({ cancelled, cut, failed, unpriced, unfinished }) {
  const kinds = [[cancelled, "stopped by hand"], [unpriced, "without a known price"], [cut, "cut off at a limit"], [failed, "that the large model failed"], [unfinished, "running or failed"]];
  const parts = kinds.filter(([number]) => number).map(([number, what]) => `${count(number)} ${what}`);
  return parts.length ? `Not counted: ${parts.join(", ")}.` : "";
}

function Group({ title, groups }) {
  const inUsd = usdColumn(groups.flatMap(([, sum]) => [sum.usd, sum.alone]));
  const heads = ["Name", "Requests", "USD", "Large alone", "Saved"];
  const rows = groups.map(([name, sum]) => [name, count(sum.count), inUsd(sum.usd), inUsd(sum.alone), percent(sum.saved)]);
  return html`<${Sums} ...${{ title, heads, rows }} isStacked />`; // two columns of amounts have no room beside each other on a narrow screen
}

function Reasons({ groups, all }) {
  const heads = ["Ending", "Requests", "Share"];
  const bar = (sum) => html`<svg class="bar" height="3" aria-hidden="true"><rect class="alone" width=${`${(sum.count / all) * 100}%`} height="3" /></svg>`;
  const rows = groups.map(([name, sum]) => [[name, bar(sum)], count(sum.count), percent(sum.count / all)]);
  return html`<${Sums} title="How requests ended" ...${{ heads, rows }} />`;
}
