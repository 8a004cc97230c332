// Keys: who may call, as the gateway's file of keys says it to an admin. No secret is in it.
import { getKeys, key, said } from "./api.js";
import { time } from "./format.js";
import { html, Scroll } from "./html.js";
import { never, useReading } from "./reading.js";

/** The id within `tandem_ID_SECRET`. */
const own = () => key().split("_")[1];

export function Keys() {
  const { found, error } = useReading(getKeys, [], never);
  return html`
    <h1>Keys</h1>
    ${error && html`<p class="problem" role="alert">${said(error)}</p>`}
    ${found && html`
      <p class="note"><code>tandem keys create TENANT</code> makes a key and shows its secret once; <code>tandem keys revoke KEY</code> takes it back.</p>
      <${Scroll} label="API keys"><table class="plain-table">
        <caption class="unseen">API keys</caption>
        <thead><tr>${["Key", "Tenant", "Roles", "Made"].map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
        <tbody>${found.keys.map((each) => html`
          <tr key=${each.id}>
            <th scope="row"><code>${each.id}</code>${each.id === own() && html` <span class="note">asks here</span>`}</th>
            <td>${each.tenant}</td><td>${each.roles.join(", ") || "–"}</td><td class="when">${time(each.created_at_unix_ms)}</td>
          </tr>`)}</tbody>
      </table><//>`}`;
}
