// Savings: what requests cost, what the large model alone would have cost, and how long they took.
import { getRequests, said } from "./api.js";
import { Chart } from "./chart.js";
import { about, count, duration, ending, percent, usd, usdColumn } from "./format.js";
import { html, Scroll } from "./html.js";
import { chosen, Heading } from "./period.js";
import { never, useReading } from "./reading.js";
import { condition } from "./requests.js";
import { by, latencies, latencyPoints, points, QUANTILES, quantile, timed, total } from "./sums.js";

const LIMIT = 1000;

const costs = (mark) => [{ label: "Cost", name: "--slm" }, { label: `Large model alone${mark}`, name: "--llm", dash: [5, 4] }];
const LATENCY = [{ label: "p50", name: "--ink" }, { label: "p95", name: "--muted", dash: [5, 4] }];

export function Savings({ query, served }) {
  const filter = chosen(query);
  const { found, error } = useReading(() => getRequests(condition(filter), LIMIT), filter, never);
  return html`
    <${Heading} title="Savings" ...${{ filter, served }} />
    ${error && html`<p class="problem" role="alert">${said(error)}</p>`}
    ${found && html`<${Figures} requests=${found.requests} />`}`;
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
    <p class="note">
      ${all.isEstimated && "≈: what the large model alone would have cost is estimated by the length of the question, where it has not answered. "}
      Only complete answers are counted. ${left(all)}
      ${requests.length === LIMIT && `Only the newest ${count(LIMIT)} requests are counted.`}
    </p>
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

function Latencies({ title, groups }) {
  return html`
    <${Scroll} label=${title}><table class="sums">
      <caption>${title}</caption>
      <thead><tr><th scope="col">Name</th><th scope="col">Requests</th>
        ${QUANTILES.map(([name]) => html`<th scope="col">${name}</th>`)}</tr></thead>
      <tbody>${groups.map(([name, members]) => html`
        <tr><th scope="row">${name}</th><td>${count(members.length)}</td>
          ${QUANTILES.map(([, share]) => html`<td>${duration(quantile(members, share))}</td>`)}</tr>`)}</tbody>
    </table><//>`;
}

function left({ cancelled, cut, unpriced, unfinished }) {
  const kinds = [[cancelled, "stopped by hand"], [unpriced, "without a known price"], [cut, "cut off at a limit"], [unfinished, "running or failed"]];
  const parts = kinds.filter(([number]) => number).map(([number, what]) => `${count(number)} ${what}`);
  return parts.length ? `Not counted: ${parts.join(", ")}.` : "";
}

function Group({ title, groups }) {
  const inUsd = usdColumn(groups.flatMap(([, sum]) => [sum.usd, sum.alone]));
  return html`
    <${Scroll} label=${title}><table class="sums">
      <caption>${title}</caption>
      <thead><tr><th scope="col">Name</th><th scope="col">Requests</th><th scope="col">USD</th><th scope="col">Large alone</th>
        <th scope="col">Saved</th></tr></thead>
      <tbody>${groups.map(([name, sum]) => html`
        <tr><th scope="row">${name}</th><td>${count(sum.count)}</td><td>${inUsd(sum.usd)}</td><td>${about(sum.isEstimated, inUsd(sum.alone))}</td>
          <td>${about(sum.isEstimated, percent(sum.saved))}</td></tr>`)}</tbody>
    </table><//>`;
}

function Reasons({ groups, all }) {
  return html`
    <${Scroll} label="How requests ended"><table class="sums">
      <caption>How requests ended</caption>
      <thead><tr><th scope="col">Ending</th><th scope="col">Requests</th><th scope="col">Share</th></tr></thead>
      <tbody>${groups.map(([name, sum]) => html`
        <tr><th scope="row">${name}
            <svg class="bar" height="3" aria-hidden="true"><rect class="alone" width=${`${(sum.count / all) * 100}%`} height="3" /></svg></th>
          <td>${count(sum.count)}</td><td>${percent(sum.count / all)}</td></tr>`)}</tbody>
    </table><//>`;
}
