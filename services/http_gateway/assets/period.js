// A view's heading with what its requests are chosen by: tenant, profile and period. All three are in the address.
import { html } from "./html.js";

const SINCE = [["24", "1 day"], ["168", "7 days"], ["720", "30 days"], ["", "all"]];

export const chosen = (query) => ({ since: "168", ...Object.fromEntries(query) });

export function Heading({ title, filter, served }) {
  const address = (changed) => `#/${title.toLowerCase()}?${new URLSearchParams({ ...filter, ...changed })}`;
  const change = (name) => (event) => (location.hash = address({ [name]: event.target.value.trim() }));
  return html`
    <div class="heading">
      <h1>${title}</h1>
      <form class="controls" role="search" aria-label="Filter" onSubmit=${(event) => event.preventDefault()}>
        <label class="field"><span>Tenant</span>
          <input class="short" value=${filter.tenant ?? ""} onChange=${change("tenant")} autocomplete="off" placeholder="all" /></label>
        <label class="field"><span>Profile</span>
          <select value=${filter.profile ?? ""} onChange=${change("profile")}>
            ${["", ...served.profiles.map(({ name }) => name)].map((name) => html`<option value=${name}>${name || "all"}</option>`)}
          </select></label>
        <nav class="segments" aria-label="Period">
          ${SINCE.map(([value, label]) => html`
            <a href=${address({ since: value })} aria-current=${value === filter.since ? "true" : undefined}><span>${label}</span></a>`)}
        </nav>
      </form>
    </div>`;
}
