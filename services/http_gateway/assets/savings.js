// Savings: what requests cost, and what the large model alone would have cost.
import { getRequests } from "./api.js";
import { Chart } from "./chart.js";
import { count, percent, usd, usdColumn, words } from "./format.js";
import { html, Scroll, useEffect, useState } from "./html.js";
import { condition } from "./requests.js";
import { by, points, total } from "./sums.js";

const LIMIT = 1000;
const SINCE = [["24", "1 day"], ["168", "7 days"], ["720", "30 days"], ["", "all"]];

export function Savings({ query }) {
  const since = query.get("since") ?? "168";
  const [found, setFound] = useState(null);
  const [error, setError] = useState(null);
  useEffect(() => {
    setError(null);
    getRequests(condition({ since }), LIMIT).then(({ requests }) => setFound(requests), setError);
  }, [since]);
  return html`
    <div class="heading">
      <h1>Savings</h1>
      <nav class="segments" aria-label="Period">
        ${SINCE.map(([value, label]) => html`
          <a href=${`#/savings?since=${value}`} aria-current=${value === since ? "true" : undefined}><span>${label}</span></a>`)}
      </nav>
    </div>
    ${error && html`<p class="problem" role="alert">${error.message}</p>`}
    ${found && html`<${Figures} requests=${found} />`}`;
}

function Figures({ requests }) {
  const all = total(requests);
  if (!all.count) return html`<p class="empty">No request of this period has ended. <a href="#/ask">Ask one.</a></p>`;
  return html`
    <dl class="figures">
      <div><dt>Saved</dt><dd class="lead">${percent(all.saved)}</dd></div>
      <div><dt>Cost</dt><dd>${usd(all.usd)}</dd></div>
      <div><dt>Large model alone</dt><dd>${usd(all.alone)}</dd></div>
      <div><dt>Requests</dt><dd>${count(all.count)}</dd></div>
    </dl>
    <${Chart} points=${points(requests)} label=${`Cost over time: ${usd(all.usd)} in all, ${usd(all.alone)} by the large model alone`} />
    <div class="tables">
      <${Group} title="By profile" groups=${by(requests, ({ profile }) => profile)} />
      <${Group} title="By tenant" groups=${by(requests, ({ tenant }) => tenant || "–")} />
      <${Reasons} groups=${by(requests, ({ reason }) => words(reason))} all=${all.count} />
    </div>
    <p class="note">
      The large model alone is an estimate, except where it has answered. ${left(all)}
      ${requests.length === LIMIT && `Only the newest ${count(LIMIT)} requests are counted.`}
    </p>`;
}

const left = ({ cancelled, unfinished }) =>
  [cancelled && `${count(cancelled)} stopped by hand`, unfinished && `${count(unfinished)} running or failed`]
    .filter(Boolean).join(" and ").replace(/^(.+)$/, "Not counted: $1.");

function Group({ title, groups }) {
  const inUsd = usdColumn(groups.flatMap(([, sum]) => [sum.usd, sum.alone]));
  return html`
    <${Scroll} label=${title}><table class="sums">
      <caption>${title}</caption>
      <thead><tr><th scope="col">Name</th><th scope="col">Requests</th><th scope="col">USD</th><th scope="col">Alone</th>
        <th scope="col">Saved</th></tr></thead>
      <tbody>${groups.map(([name, sum]) => html`
        <tr><th scope="row">${name}</th><td>${count(sum.count)}</td><td>${inUsd(sum.usd)}</td><td>${inUsd(sum.alone)}</td>
          <td>${percent(sum.saved)}</td></tr>`)}</tbody>
    </table><//>`;
}

function Reasons({ groups, all }) {
  return html`
    <${Scroll} label="Stop reasons"><table class="sums reasons">
      <caption>Stop reasons</caption>
      <thead><tr><th scope="col">Reason</th><th scope="col">Requests</th><th scope="col">Share</th></tr></thead>
      <tbody>${groups.map(([name, sum]) => html`
        <tr><th scope="row">${name}
            <svg class="bar" height="3" aria-hidden="true"><rect class="alone" width=${`${(sum.count / all) * 100}%`} height="3" /></svg></th>
          <td>${count(sum.count)}</td><td>${percent(sum.count / all)}</td></tr>`)}</tbody>
    </table><//>`;
}
