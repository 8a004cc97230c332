// The rows of the list of requests: what was asked, what became of it, and how a keyboard moves through them.
import { ending, percent, time, usdColumn, words } from "./format.js";
import { html, useLayoutEffect, useRef, useState } from "./html.js";

const HEADS = ["Started", "Question", "Profile", "Tenant", "State", "Stage", "USD", "Saved"];

/** Those with all the words somewhere in what a row says of them. */
export function matching(requests, search) {
  const wanted = search.toLowerCase().split(/\s+/).filter(Boolean);
  return requests.filter((request) => {
    const { request_id: id, profile, tenant } = request;
    const row = [asked(request), id, profile, tenant, outcome(request)].join(" ").toLowerCase();
    return wanted.every((word) => row.includes(word));
  });
}

// The roles are said, because a narrow screen shows rows as blocks, which takes them from the elements.
export function Rows({ requests }) {
  const [current, setCurrent] = useState("");
  const table = useRef(null);
  useLayoutEffect(() => {  // before the rows are painted: who sees them can use the keys
    const step = (event) => move(event, table.current);
    addEventListener("keydown", step);
    return () => removeEventListener("keydown", step);
  }, []);
  const inUsd = usdColumn(requests.map(({ usd }) => usd));
  const reached = requests.some(({ request_id: id }) => id === current) ? current : requests[0].request_id; // one row is in the tab order
  return html`
    <table class="requests" role="table" aria-label="Requests" ref=${table}>
      <thead role="rowgroup"><tr role="row">${HEADS.map((head) => html`<th role="columnheader" scope="col">${head}</th>`)}</tr></thead>
      <tbody role="rowgroup">
        ${requests.map((request) => {
          const id = request.request_id;
          return html`
            <tr role="row" key=${id}>
              <td role="cell" class="when">${time(request.started_at_unix_ms)}</td>
              <td role="cell" class=${request.question ? "asked" : "asked id"}>
                <a href=${`#/requests/${encodeURIComponent(id)}`} title=${id} tabindex=${id === reached ? 0 : -1} onFocus=${() => setCurrent(id)}>${asked(request) || id}</a></td>
              <td role="cell" data-head="Profile">${request.profile}</td>
              <td role="cell" data-head="Tenant">${request.tenant || "–"}</td>
              <td role="cell" data-head="State" class=${request.state}>${outcome(request)}</td>
              <td role="cell" data-head="Stage" class="number">${request.reason === "llm_finished" ? "–" : request.stage ?? "–"}</td>
              <td role="cell" data-head="USD" class="number">${inUsd(request.usd)}</td>
              <td role="cell" data-head="Saved" class="number">${percent(request.saved_ratio)}</td>
            </tr>`;
        })}
      </tbody>
    </table>`;
}

export const asked = ({ question, tool }) => (tool ? `Result of ${tool}: ${question}` : question);

/** A request that failed may have been stopped before. */
export const outcome = ({ state, reason }) => (state !== "failed" && reason && reason !== "unspecified" ? ending(reason) : words(state));

/** The row of the tab order: where the keyboard was last, else the first one. */
export const reachedRow = () => document.querySelector(".requests a[tabindex='0']");

/** With the arrows, or j and k, from wherever nothing is typed, and between rows to the ends; Enter follows a row's link by itself. */
function move(event, table) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, select, textarea")) return;
  const links = [...table.querySelectorAll("tbody a")];
  const at = links.indexOf(document.activeElement);
  const steps = { ArrowDown: at + 1, j: at + 1, ArrowUp: at - 1, k: at - 1, ...(at >= 0 && { Home: 0, End: links.length - 1 }) };
  const to = steps[event.key];
  if (to === undefined) return;
  event.preventDefault();
  (at < 0 ? reachedRow() : links[Math.min(Math.max(to, 0), links.length - 1)]).focus();
}
