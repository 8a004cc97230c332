// Outcomes: what callers and shadows say of each policy's answers, and whether a promise is kept.
import { getPromises, said } from "./api.js";
import { count, percent } from "./format.js";
import { Cells, html, Scroll } from "./html.js";
import { never, useReading } from "./reading.js";

const HEADS = ["Profile", "Task", "Accepted by", "Outcomes", "Lost", "Between", "Promised", "Says"];

export function Outcomes({ query }) {
  const tenant = query.get("tenant") ?? "";
  const { found, error } = useReading(() => getPromises(tenant), tenant, never);
  return html`
    <div class="heading">
      <h1>Outcomes</h1>
      <label class="field"><span>Tenant</span> <input class="short" value=${tenant} autocomplete="off" placeholder="own"
        onChange=${(event) => (location.hash = `#/outcomes?${new URLSearchParams({ tenant: event.target.value.trim() })}`)} /></label>
    </div>
    <p class="note">Two small models against the large one: <a href="#/outcomes/disputes">label disputes</a></p>
    ${error && html`<p class="problem" role="alert">${said(error)}</p>`}
    ${found?.policies.length === 0 && html`<p class="empty">Nobody has said yet whether an answer was right. Each answer of a
      <a href="#/requests">request</a> takes a word on it, as does <code>tandem outcome REQUEST right</code>.</p>`}
    ${found?.policies.length > 0 && html`<${Table} policies=${found.policies} />`}`;
}

function Table({ policies }) {
  return html`
    <${Scroll} label="Outcomes by policy"><table class="plain-table stacked">
      <caption class="unseen">Outcomes by policy</caption>
      <thead><tr>${HEADS.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
      <tbody>${policies.map((policy) => html`
        <tr key=${`${policy.profile} ${policy.task}`}><${Cells} heads=${HEADS} cells=${[
          policy.profile, policy.task, policy.evidence, count(policy.outcomes), count(policy.lost),
          `${percent(policy.lost_at_least)} and ${percent(policy.lost_at_most)}`,
          policy.promised === null ? "–" : `at most ${percent(policy.promised)}`,
          [verdict(policy), policy.step > 0 && html`<span class="note">${policy.step === 1 ? "1 step" : `${policy.step} steps`} stricter</span>`],
        ]} /></tr>`)}</tbody>
    </table><//>
    <p class="note">Lost: the answer was wrong, and the large model's own is right. The bounds are each at ${percent(policies[0].confidence)} confidence.</p>`;
}

function verdict({ promised, standing }) {
  if (promised === null) return "no promise";
  return { kept: "kept", broken: "broken" }[standing] ?? "too few to tell";
}
