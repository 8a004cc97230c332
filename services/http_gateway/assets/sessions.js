// Sessions: what conversations of many turns cost, and of one session each turn, with who answered it.
import { getRequest, getRequests, isLost, said } from "./api.js";
import { count, percent, time, usd, usdColumn } from "./format.js";
import { Cells, html, Scroll, useRef } from "./html.js";
import { chosen, Heading } from "./period.js";
import { useReading } from "./reading.js";
import { asked, outcome } from "./request_rows.js";
import { condition, ESTIMATED } from "./requests.js";
import { isEstimated, total } from "./sums.js";

const LIMIT = 1000;
const HEADS = ["Session", "Last turn", "Profile", "Answered", "Turns", "USD", "Saved"];
const TURN_HEADS = ["Turn", "Question", "Answered by", "Also asked", "Read", "Cached", "USD", "Saved", "Running total"];

export function Sessions({ query, served }) {
  const filter = chosen(query);
  const { found, error } = useReading(() => getRequests(condition(filter), LIMIT), filter);
  const sessions = found && Map.groupBy(found.requests.filter(({ session }) => session), addressOf);
  return html`
    <${Heading} title="Sessions" ...${{ filter, served }} />
    ${error && html`<p class="problem" role="alert">${said(error)}</p>`}
    ${sessions?.size === 0 && html`<p class="empty">No session in this period. An agent's turns are one, as are those of a <a href="#/ask">chat</a>.</p>`}
    ${sessions?.size > 0 && html`<${Table} sessions=${[...sessions]} />`}
    <${Bounded} found=${found} />`;
}

/** A name is its tenant's own. */
const addressOf = ({ session, tenant }) => `#/sessions/${encodeURIComponent(session)}?${new URLSearchParams({ tenant })}`;

const Bounded = ({ found }) => found?.requests.length === LIMIT && html`<p class="note">Only the newest ${count(LIMIT)} requests are counted.</p>`;

/** Of all that has a bill; what has none yet, or whose price is not known, adds nothing. */
const cost = (turns) => turns.reduce((whole, turn) => whole + turn.usd, 0);

function Table({ sessions }) {
  const inUsd = usdColumn(sessions.map(([, turns]) => cost(turns)));
  return html`
    <${Scroll} label="Sessions"><table class="plain-table stacked sessions">
      <caption class="unseen">Sessions, the last to ask first</caption>
      <thead><tr>${HEADS.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
      <tbody>${sessions.map(([address, turns]) => html`
        <tr key=${address}><${Cells} heads=${HEADS} cells=${[
          html`<a href=${address}>${turns[0].session}</a>`, html`<span class="when">${time(turns[0].started_at_unix_ms)}</span>`,
          names(turns.map(({ profile }) => profile)), counts(turns), count(turns.length), inUsd(cost(turns)), saved(turns),
        ]} /></tr>`)}</tbody>
    </table><//>`;
}

const names = (all) => [...new Set(all)].join(", ");
const counts = (turns) => [...Map.groupBy(turns, outcome)].map(([how, those]) => `${count(those.length)} ${how}`).join("; ");

const saved = (turns) => percent(total(turns).saved);

export function Session({ id, query }) {
  const tenant = query.get("tenant") ?? "";
  const bills = useRef(new Map());
  const read = async () => {
    const found = await getRequests(condition({ tenant }), LIMIT);
    const turns = found.requests.filter((turn) => turn.session === id && turn.tenant === tenant).reverse();
    const unread = turns.filter((turn) => turn.state !== "running" && !bills.current.has(turn.request_id));
    await Promise.all(unread.map(async (turn) => bills.current.set(turn.request_id, await billOf(turn.request_id))));
    return { ...found, turns };
  };
  const { found, error } = useReading(read, [id, tenant]);
  return html`
    <p class="back"><a href="#/sessions">← Sessions</a></p>
    <h1>Session ${id}</h1>
    ${error && html`<p class="problem" role="alert">${said(error)}</p>`}
    ${found?.turns.length === 0 && html`<p class="empty">No turn of this session is among the newest requests.</p>`}
    ${found?.turns.length > 0 && html`<${Turns} turns=${found.turns} bills=${bills.current} />`}
    <${Bounded} found=${found} />`;
}

/** The result of one turn; null where it has none, or cannot be read any more. */
async function billOf(id) {
  try {
    return (await getRequest(id)).result;
  } catch (error) {
    if (isLost(error)) throw error;
    return null;
  }
}

/** What all roles have read, and how much of that came from a cache. */
function readTokens(results) {
  const used = results.filter(Boolean).flatMap(({ usage }) => Object.values(usage));
  const cached = used.reduce((whole, usage) => whole + usage.cached_input_tokens, 0);
  const all = used.reduce((whole, usage) => whole + usage.input_tokens, cached);
  return [all, all ? cached / all : null];
}

/** [who answered, who else was asked], by the names of models. */
function models(result) {
  if (!result) return ["–", "–"];
  const answered = result.usage[result.answered_by]?.model;
  const asked = Object.values(result.usage).filter((used) => used.input_tokens + used.cached_input_tokens + used.output_tokens);
  return [answered ?? "–", names(asked.map(({ model }) => model).filter((model) => model !== answered)) || "–"];
}

function Turns({ turns, bills }) {
  const inUsd = usdColumn(turns.map((turn) => turn.usd));
  const [, cached] = readTokens(turns.map((turn) => bills.get(turn.request_id)));
  let running = 0;
  return html`
    <dl class="figures">
      <div><dt>Cost</dt><dd class="lead">${usd(cost(turns))}</dd></div>
      <div><dt>Saved</dt><dd>${saved(turns)}</dd></div>
      <div><dt>Read from caches</dt><dd>${percent(cached)}</dd></div>
      <div><dt>Turns</dt><dd>${count(turns.length)}</dd></div>
    </dl>
    <${Scroll} label="Turns"><table class="plain-table stacked sessions">
      <caption class="unseen">Turns, the first one first</caption>
      <thead><tr>${TURN_HEADS.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
      <tbody>${turns.map((turn, index) => {
        const result = bills.get(turn.request_id);
        const [read, share] = readTokens([result]);
        const [answered, others] = models(result);
        running += turn.usd;
        return html`
          <tr key=${turn.request_id}><${Cells} heads=${TURN_HEADS} cells=${[
            count(index + 1), html`<a href=${`#/requests/${encodeURIComponent(turn.request_id)}`}>${asked(turn) || turn.request_id}</a>`,
            [answered, html`<span class="note">${outcome(turn)}</span>`], others, count(read), percent(share), inUsd(turn.usd),
            percent(turn.saved_ratio), inUsd(running),
          ]} /></tr>`;
      })}</tbody>
    </table><//>
    <p class="note">Cached: the share of what all models read that came from a cache. A bill whose price is not known adds nothing to the total.
      ${turns.some(isEstimated) && ESTIMATED}</p>`;
}
