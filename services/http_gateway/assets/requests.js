// Requests: those that match a filter, newest first, and a search in them. Both are in the address.
import { getRequests, said } from "./api.js";
import { ending, STOP_REASONS } from "./format.js";
import { html, useEffect, useState } from "./html.js";
import { useReading } from "./reading.js";
import { matching, reachedRow, Rows } from "./request_rows.js";
import { isEstimated } from "./sums.js";

const PAGE = 100;
const MOST = 1000;
const HOUR = 3600e3;
/** Which of the savings are against an estimate. */
export const ESTIMATED = "What the large model alone would have cost is an estimate where it has not answered.";
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
  const { search = "", ...filter } = Object.fromEntries(query);
  const [limit, setLimit] = useState(PAGE);
  const [words, setWords] = useState(search);
  const { found: answer, error } = useReading(() => getRequests(condition(filter), limit), [filter, limit]);
  const found = answer?.requests;
  const shown = found && matching(found, words);
  useEffect(() => setWords(search), [String(query)]);

  const address = (changed) => {
    const wanted = Object.entries({ ...filter, search: words, ...changed }).filter(([, value]) => value.trim());
    return `#/requests?${new URLSearchParams(wanted)}`;
  };
  const change = (name) => (event) => (location.hash = address({ [name]: event.target.value.trim() }));
  const find = ({ target }) => {
    setWords(target.value);
    history.replaceState(null, "", address({ search: target.value })); // nothing is read anew, and the field keeps the focus
  };
  return html`
    <div class="heading">
      <h1>Requests</h1>
      <label class="field search"><span>Search in these</span>
        <input type="search" value=${words} placeholder="question, id, tenant" onInput=${find} onKeyDown=${toRows} /></label>
    </div>
    <${Filter} ...${{ filter, change, served }} />
    ${error && html`<p class="problem" role="alert">${said(error)}</p>`}
    <p class="note"><span role="status">${found && summary(found, shown, limit)}</span>${shown?.some(isEstimated) && ` ${ESTIMATED}`}
      ${shown?.length > 1 && html`<span class="keys"> <kbd>↓</kbd> <kbd>↑</kbd> or <kbd>j</kbd> <kbd>k</kbd> go from row to row, <kbd>Enter</kbd> opens one.</span>`}</p>
    ${shown?.length > 0 && html`<${Rows} requests=${shown} />`}
    ${found?.length === limit && limit < MOST && html`
      <p><button type="button" onClick=${() => setLimit(Math.min(MOST, limit + PAGE))}>Show more</button></p>`}
    ${shown?.length === 0 && html`<p class="empty">No request matches. ${!found.length && html`<a href="#/ask">Ask one.</a>`}</p>`}`;
}

function toRows(event) {
  if (event.key !== "ArrowDown") return;
  event.preventDefault();
  reachedRow()?.focus();
}

function summary(found, shown, limit) {
  if (!found.length) return "";
  const all = `${found.length}${found.length === limit ? " newest" : ""} ${found.length === 1 ? "request" : "requests"}`;
  return `${shown.length < found.length ? `${shown.length} of ` : ""}${all}.`;
}

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
