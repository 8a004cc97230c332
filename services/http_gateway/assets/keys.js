// Keys: who may call, as the gateway's file of keys says it to an admin. No secret is in it.
import { getKeys, key, said } from "./api.js";
import { time } from "./format.js";
import { Cells, html, Scroll } from "./html.js";
import { never, useReading } from "./reading.js";

const HEADS = ["Key", "Tenant", "Roles", "Made"];

/** The id within `tandem_ID_SECRET`. */
const own = () => key().split("_")[1];

export function Keys() {
  const { found, error } = useReading(getKeys, [], never);
  return html`
    <h1>Keys</h1>
    ${error && html`<p class="problem" role="alert">${said(error)}</p>`}
    ${found && html`
      <p class="note"><code>tandem keys create TENANT</code> makes a key and shows its secret once; <code>tandem keys revoke KEY</code> takes it back.</p>
      <${Scroll} label="API keys"><table class="plain-table stacked">
        <caption class="unseen">API keys</caption>
        <thead><tr>${HEADS.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
        <tbody>${found.keys.map((each) => html`
          <tr key=${each.id}><${Cells} heads=${HEADS} cells=${[
            [html`<code>${each.id}</code>`, each.id === own() && html` <span class="note">asks here</span>`],
            each.tenant, each.roles.join(", ") || "–", html`<span class="when">${time(each.created_at_unix_ms)}</span>`,
          ]} /></tr>`)}</tbody>
      </table><//>`}`;
}
