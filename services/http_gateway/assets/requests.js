// Requests: those that match a filter, newest first. The filter is in the address.
import { getRequests, isLost, said } from "./api.js";
import { ending, percent, STOP_REASONS, time, usdColumn, words } from "./format.js";
import { html, useEffect, useState } from "./html.js";

const PAGE = 100;
const MOST = 1000;
const AGAIN_MS = 5000;
const HOUR = 3600e3;
const SINCE = [["", "any time"], ["1", "last hour"], ["24", "last day"], ["168", "last week"], ["720", "last 30 days"]];

/** The gateway's condition for a filter. */
export function condition({ tenant, profile, reason, cost, since }, now = Date.now()) {
  const quoted = (value) => `"${value.replaceAll('"', "")}"`;
  return [
    tenant && `tenant = ${quoted(tenant)}`,
    profile && `profile = ${quoted(profile)}`,
    reason && `reason = ${quoted(reason)}`,
    cost && `cost >= ${cost}`,
    since && `started > "${new Date(now - since * HOUR).toISOString()}"`,
  ].filter(Boolean).join(" and ");
}

export function Requests({ query, served }) {
  const filter = Object.fromEntries(query);
  const [limit, setLimit] = useState(PAGE);
  const { found, error } = useRequests(filter, limit);

  const change = (name) => (event) => {
    const next = new URLSearchParams(query);
    if (event.target.value.trim()) next.set(name, event.target.value.trim());
    else next.delete(name);
    location.hash = `#/requests?${next}`;
  };
  return html`
    <h1>Requests</h1>
    <${Filter} ...${{ filter, change, served }} />
    ${error && html`<p class="problem" role="alert">${said(error)}</p>`}
    <p class="note" role="status">${found && summary(found, limit)}</p>
    ${found?.length > 0 && html`<${Table} requests=${found} />`}
    ${found?.length === limit && limit < MOST && html`
      <p><button type="button" onClick=${() => setLimit(Math.min(MOST, limit + PAGE))}>Show more</button></p>`}
    ${found?.length === 0 && html`<p class="empty">No request matches. <a href="#/ask">Ask one.</a></p>`}`;
}

/** The requests, read again while the page is looked at. Rows of an older filter are not shown under a newer one that is refused. */
function useRequests(filter, limit) {
  const [state, setState] = useState({ found: null, error: null });
  useEffect(() => {
    let isCurrent = true;
    let later = null;
    const read = async () => {
      let error = null;
      try {
        const { requests } = document.hidden ? {} : await getRequests(condition(filter), limit);
        if (isCurrent && requests) setState({ found: requests, error: null });
      } catch (refused) {
        error = refused;
        if (isCurrent) setState({ found: null, error });
      }
      if (isCurrent && (!error || isLost(error))) later = setTimeout(read, AGAIN_MS);
    };
    read();
    return () => {
      isCurrent = false;
      clearTimeout(later);
    };
  }, [JSON.stringify(filter), limit]);
  return state;
}

const summary = (found, limit) =>
  found.length === 0 ? "" : `${found.length}${found.length === limit ? " newest" : ""} ${found.length === 1 ? "request" : "requests"}`;

function Filter({ filter, change, served }) {
  const choice = (name, label, options) => html`
    <label class="field"><span>${label}</span>
      <select value=${filter[name] ?? ""} onChange=${change(name)}>
        ${options.map(([value, text]) => html`<option value=${value}>${text}</option>`)}
      </select></label>`;
  const all = (names) => [["", "all"], ...names.map((name) => [name, ending(name)])];
  return html`
    <form class="filter" role="search" aria-label="Filter" onSubmit=${(event) => event.preventDefault()}>
      <${Typed} label="Tenant" value=${filter.tenant ?? ""} onChange=${change("tenant")} autocomplete="off" placeholder="all" />
      ${choice("profile", "Profile", [["", "all"], ...served.profiles.map(({ name }) => [name, name])])}
      ${choice("reason", "How it ended", all(STOP_REASONS))}
      <${Typed} label="USD at least" value=${filter.cost ?? ""} onChange=${change("cost")} type="number" min="0" step="any" placeholder="0" />
      ${choice("since", "Started", SINCE)}
    </form>`;
}

// Holds what is typed until it is entered: the list may be drawn again meanwhile.
function Typed({ label, value, ...attributes }) {
  const [draft, setDraft] = useState(value);
  useEffect(() => setDraft(value), [value]);
  return html`
    <label class="field"><span>${label}</span>
      <input value=${draft} onInput=${(event) => setDraft(event.target.value)} ...${attributes} /></label>`;
}

// The roles are said, because a narrow screen shows rows as blocks, which takes them from the elements.
function Table({ requests }) {
  const inUsd = usdColumn(requests.map(({ usd }) => usd));
  const heads = ["Started", "Request", "Profile", "Tenant", "State", "Stage", "USD", "Saved, estimated"];
  return html`
    <table class="requests" role="table" aria-label="Requests">
      <thead role="rowgroup"><tr role="row">${heads.map((head) => html`<th role="columnheader" scope="col">${head}</th>`)}</tr></thead>
      <tbody role="rowgroup">
        ${requests.map((request) => html`
          <tr role="row" key=${request.request_id}>
            <td role="cell" class="when">${time(request.started_at_unix_ms)}</td>
            <td role="cell" class="id"><a href=${`#/requests/${encodeURIComponent(request.request_id)}`} title=${request.request_id}>${request.request_id}</a></td>
            <td role="cell" data-head="Profile">${request.profile}</td>
            <td role="cell" data-head="Tenant">${request.tenant || "–"}</td>
            <td role="cell" data-head="State" class=${request.state}>${outcome(request)}</td>
            <td role="cell" data-head="Stage" class="number">${request.reason === "llm_finished" ? "–" : request.stage ?? "–"}</td>
            <td role="cell" data-head="USD" class="number">${inUsd(request.usd)}</td>
            <td role="cell" data-head="Saved" class="number">${percent(request.saved_ratio)}</td>
          </tr>`)}
      </tbody>
    </table>`;
}

const outcome = ({ state, reason }) => (reason && reason !== "unspecified" ? ending(reason) : words(state));
