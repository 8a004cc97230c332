// Requests: those that match a filter, newest first, and a search in them. A session's requests stand in their order, with their running
// total. Filter and search are in the address.
import { getRequests, said } from "./api.js";
import { count, ending, percent, STOP_REASONS, time, usd, usdColumn, words } from "./format.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "./html.js";
import { useReading } from "./reading.js";
import { isEstimated, total } from "./sums.js";

const PAGE = 100;
const MOST = 1000;
const HOUR = 3600e3;
/** Which of the savings are against an estimate. */
export const ESTIMATED = "What the large model alone would have cost is an estimate where it has not answered.";
const SINCE = [["", "any time"], ["1", "last hour"], ["24", "last day"], ["168", "last week"], ["720", "last 30 days"]];

/** The gateway's condition for a filter. It has none for a session. */
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

const addressOf = (filter) => `#/requests?${new URLSearchParams(Object.entries(filter).filter(([, value]) => value.trim()))}`;

export function Requests({ query, served }) {
  const { search = "", ...filter } = Object.fromEntries(query);
  const { session } = filter;
  const [wanted, setWanted] = useState(PAGE);
  const [typed, setTyped] = useState(search);
  const limit = session ? MOST : wanted;
  const { found: answer, error } = useReading(() => getRequests(condition(filter), limit), [filter, limit]);
  const found = answer?.requests;
  const chosen = found && (session ? found.filter((request) => request.session === session).reverse() : found);
  const shown = chosen && matching(chosen, typed);
  useEffect(() => setTyped(search), [String(query)]);

  const address = (changed) => addressOf({ ...filter, search: typed, ...changed });
  const change = (name) => (event) => (location.hash = address({ [name]: event.target.value.trim() }));
  const find = ({ target }) => {
    setTyped(target.value);
    history.replaceState(null, "", address({ search: target.value })); // nothing is read anew, and the field keeps the focus
  };
  return html`
    <div class="heading">
      <h1>Requests</h1>
      <form class="controls" role="search" aria-label="Search" onSubmit=${(event) => event.preventDefault()}>
        <label class="field search"><span>Search in these</span>
          <input type="search" value=${typed} placeholder="question, id, tenant" onInput=${find} onKeyDown=${toRows} /></label>
        <${Typed} label="Session" value=${session ?? ""} onChange=${change("session")} autocomplete="off" placeholder="all" list="sessions" />
        <datalist id="sessions">${sessionsOf(found ?? []).map((name) => html`<option value=${name} />`)}</datalist>
      </form>
    </div>
    <${Filter} ...${{ filter, change, served }} />
    ${error && html`<p class="problem" role="alert">${said(error)}</p>`}
    ${session && shown?.length > 0 && html`<${Sum} ...${{ session, requests: shown }} />`}
    <p class="note"><span role="status">${found && summary(chosen, shown, limit)}</span>${shown?.some(isEstimated) && ` ${ESTIMATED}`}
      ${session && found?.length === MOST && ` Only the newest ${count(MOST)} requests are looked through.`}
      ${shown?.length > 1 && html`<span class="keys"> <kbd>↓</kbd> <kbd>↑</kbd> or <kbd>j</kbd> <kbd>k</kbd> go from row to row, <kbd>Enter</kbd> opens one.</span>`}</p>
    ${shown?.length > 0 && html`<${Rows} requests=${shown} isSession=${Boolean(session)} />`}
    ${!session && found?.length === limit && limit < MOST && html`
      <p><button type="button" onClick=${() => setWanted(Math.min(MOST, limit + PAGE))}>Show more</button></p>`}
    ${shown?.length === 0 && html`<p class="empty">No request matches. ${!found.length && html`<a href="#/ask">Ask one.</a>`}</p>`}`;
}

const sessionsOf = (requests) => [...new Set(requests.map(({ session }) => session).filter(Boolean))];

/** Those with all the words somewhere in what a row says of them. */
function matching(requests, search) {
  const wanted = search.toLowerCase().split(/\s+/).filter(Boolean);
  return requests.filter((request) => {
    const { request_id: id, profile, tenant, session } = request;
    const row = [title(request), id, profile, tenant, session, outcome(request)].join(" ").toLowerCase();
    return wanted.every((word) => row.includes(word));
  });
}

function summary(found, shown, limit) {
  if (!found.length) return "";
  const all = `${found.length}${found.length === limit ? " newest" : ""} ${found.length === 1 ? "request" : "requests"}`;
  return `${shown.length < found.length ? `${shown.length} of ` : ""}${all}.`;
}

function Filter({ filter, change, served }) {
  const { search, session, ...set } = filter;
  const number = Object.values(set).filter(Boolean).length;
  const [isOpen] = useState(number > 0); // afterwards as its reader leaves it
  const choice = (name, label, options) => html`
    <label class="field"><span>${label}</span>
      <select value=${filter[name] ?? ""} onChange=${change(name)}>
        ${options.map(([value, text]) => html`<option value=${value}>${text}</option>`)}
      </select></label>`;
  const all = (names, text = (name) => name) => [["", "all"], ...names.map((name) => [name, text(name)])];
  return html`
    <details open=${isOpen}>
      <summary>Filter${number > 0 && ` (${number} set)`}</summary>
      <form class="filter" role="search" aria-label="Filter" onSubmit=${(event) => event.preventDefault()}>
        <${Typed} label="Tenant" value=${filter.tenant ?? ""} onChange=${change("tenant")} autocomplete="off" placeholder="all" />
        ${choice("profile", "Profile", all(served.profiles.map(({ name }) => name)))}
        ${choice("reason", "How it ended", all(STOP_REASONS, ending))}
        <${Typed} label="USD at least" value=${filter.cost ?? ""} onChange=${change("cost")} type="number" min="0" step="any" placeholder="0" />
        ${choice("since", "Started", SINCE)}
      </form>
    </details>`;
}

/** Holds what is typed until it is entered: the list may be drawn again meanwhile. */
function Typed({ label, value, ...attributes }) {
  const [draft, setDraft] = useState(value);
  useEffect(() => setDraft(value), [value]);
  return html`
    <label class="field"><span>${label}</span>
      <input value=${draft} onInput=${(event) => setDraft(event.target.value)} ...${attributes} /></label>`;
}

/** What has no bill yet, or whose price is not known, adds nothing. */
function Sum({ session, requests }) {
  const cost = requests.reduce((whole, request) => whole + request.usd, 0);
  return html`
    <section aria-label=${`Session ${session}`}><dl class="figures">
      <div><dt>Cost</dt><dd class="lead">${usd(cost)}</dd></div>
      <div><dt>Saved</dt><dd>${percent(total(requests).saved)}</dd></div>
    </dl></section>`;
}

// The roles are said, because a narrow screen shows rows as blocks, which takes them from the elements.
function Rows({ requests, isSession }) {
  const [current, setCurrent] = useState("");
  const table = useRef(null);
  useLayoutEffect(() => {  // before the rows are painted: who sees them can use the keys
    const step = (event) => move(event, table.current);
    addEventListener("keydown", step);
    return () => removeEventListener("keydown", step);
  }, []);
  const inUsd = usdColumn(requests.map(({ usd: cost }) => cost));
  const reached = requests.some(({ request_id: id }) => id === current) ? current : requests[0].request_id; // one row is in the tab order
  let running = 0;
  const head = (text, name) => html`<th role="columnheader" scope="col" class=${name}>${text}</th>`;
  const cell = (text, content, name) => html`<td role="cell" data-head=${text} class=${name}>${content}</td>`;
  return html`
    <table class="requests" role="table" aria-label="Requests" ref=${table}>
      <thead role="rowgroup"><tr role="row">
        ${["Started", "Question", !isSession && "Session", "Profile", "Tenant", "State"].filter(Boolean).map((text) => head(text))}
        ${["Stage", "USD", "Saved", isSession && "Running total"].filter(Boolean).map((text) => head(text, "number"))}
      </tr></thead>
      <tbody role="rowgroup">
        ${requests.map((request) => {
          const { request_id: id, session, tenant } = request;
          running += request.usd;
          return html`
            <tr role="row" key=${id}>
              <td role="cell" class="when">${time(request.started_at_unix_ms)}</td>
              <td role="cell" class=${request.question ? "asked" : "asked id"}>
                <a href=${`#/requests/${encodeURIComponent(id)}`} title=${id} tabindex=${id === reached ? 0 : -1} onFocus=${() => setCurrent(id)}>${title(request) || id}</a></td>
              ${!isSession && cell("Session", session ? html`<a href=${addressOf({ session, tenant })} title=${session} tabindex="-1">${session}</a>` : "–", "session")}
              ${cell("Profile", request.profile)}
              ${cell("Tenant", tenant || "–")}
              ${cell("State", outcome(request), request.state)}
              ${cell("Stage", request.reason === "llm_finished" ? "–" : request.stage ?? "–", "number")}
              ${cell("USD", inUsd(request.usd), "number")}
              ${cell("Saved", percent(request.saved_ratio), "number")}
              ${isSession && cell("Running total", inUsd(running), "number")}
            </tr>`;
        })}
      </tbody>
    </table>`;
}

const title = ({ question, tool }) => (tool ? `Result of ${tool}: ${question}` : question);

/** A request that failed may have been stopped before. */
const outcome = ({ state, reason }) => (state !== "failed" && reason && reason !== "unspecified" ? ending(reason) : words(state));

/** The row of the tab order: where the keyboard was last, else the first one. */
const reachedRow = () => document.querySelector(".requests .asked a[tabindex='0']");

function toRows(event) {
  if (event.key !== "ArrowDown") return;
  event.preventDefault();
  reachedRow()?.focus();
}

/** With the arrows, or j and k, from wherever nothing is typed, and between rows to the ends; Enter follows a row's link by itself. */
function move(event, table) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, select, textarea")) return;
  const links = [...table.querySelectorAll(".asked a")];
  const at = links.indexOf(document.activeElement);
  const steps = { ArrowDown: at + 1, j: at + 1, ArrowUp: at - 1, k: at - 1, ...(at >= 0 && { Home: 0, End: links.length - 1 }) };
  const to = steps[event.key];
  if (to === undefined) return;
  event.preventDefault();
  (at < 0 ? reachedRow() : links[Math.min(Math.max(to, 0), links.length - 1)]).focus();
}
