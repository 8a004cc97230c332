// Tenants: what each has used of its limits. A reader sees its own tenant, an admin all.
import { getTenants, said } from "./api.js";
import { count, time, usd } from "./format.js";
import { html, Scroll } from "./html.js";
import { useReading } from "./reading.js";

const HEADS = {
  usd_per_day: "USD today",
  usd_per_month: "USD this month",
  requests_per_minute: "Requests a minute",
  concurrent_requests: "Requests at once",
  tokens_per_minute: "Tokens a minute",
};

export function Tenants() {
  const { found, error } = useReading(getTenants, []);
  return html`
    <h1>Tenants</h1>
    ${error && html`<p class="problem" role="alert">${said(error)}</p>`}
    ${found?.tenants.length === 0 && html`<p class="empty">No tenant has limits. <code>tandem tenants set</code> gives it some.</p>`}
    ${found?.tenants.length > 0 && html`<${Table} tenants=${found.tenants} />`}`;
}

function Table({ tenants }) {
  return html`
    <${Scroll} label="Use of limits"><table class="sums stacked uses">
      <caption>Used of each limit</caption>
      <thead><tr><th scope="col">Tenant</th>${Object.values(HEADS).map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
      <tbody>${tenants.map(({ tenant, limits }) => html`
        <tr key=${tenant}><th scope="row" data-head="Tenant">${tenant || "–"}</th>
          ${limits.length
            ? Object.keys(HEADS).map((name) => html`<${Use} ...${limits.find(({ limit }) => limit === name)} />`)
            : html`<td class="zero" colspan=${Object.keys(HEADS).length}>no limits</td>`}</tr>`)}</tbody>
    </table><//>
    <p class="note">
      With what running requests may still need. A minute is the last 60 seconds. ${resets(tenants)}
    </p>`;
}

function Use({ limit, used, most }) {
  const write = limit.startsWith("usd") ? usd : count;
  if (most === null) return html`<td class="zero" data-head=${HEADS[limit]}>${write(used)}</td>`;
  const share = most ? Math.min(1, used / most) : 1;
  return html`
    <td class=${share === 1 && "full"} data-head=${HEADS[limit]}>${write(used)} of ${write(most)}
      <svg class="bar" height="3" aria-hidden="true"><rect class="alone" width=${`${share * 100}%`} height="3" /></svg></td>`;
}

/** When the day and the month begin again: at one time for all tenants. */
function resets(tenants) {
  const ends = tenants.flatMap(({ limits }) => limits).filter(({ resets_at_unix_ms: at }) => at !== null);
  const of = (name) => ends.find(({ limit }) => limit === name)?.resets_at_unix_ms;
  return ends.length > 0 && `The day begins again at ${time(of("usd_per_day"))}, the month at ${time(of("usd_per_month"))}.`;
}
