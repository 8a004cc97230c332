// What the page asks of its server: JSON, and a request's events. The key is kept for this tab alone.

const KEY = "tandem-api-key";
const RETRY_MS = 1000;
const MOST_ENDS = 10;

export const key = () => sessionStorage.getItem(KEY) ?? "";

export function setKey(value) {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
}

class ApiError extends Error {
  constructor(status, message, param) {
    super(message);
    Object.assign(this, { status, param });
  }
}

/** Whether to ask again: the server, or what is behind it, does not answer. */
export const isLost = ({ status }) => status === 0 || status >= 500;

/** An error in words; the same ones wherever a connection is lost. */
export const said = (error) => (isLost(error) ? `Reconnecting … ${error.message}` : error.message);

const headers = () => (key() ? { authorization: `Bearer ${key()}` } : {});

async function refusal(response) {
  const text = await response.text();
  try {
    const { message, param } = JSON.parse(text).error;
    return new ApiError(response.status, message, param);
  } catch {
    return new ApiError(response.status, text || response.statusText);
  }
}

/** What is read from the server, by `fetch` or `import`, whose own errors say nothing that helps. */
export async function reached(reading, signal) {
  try {
    return await reading;
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, `${location.origin} does not answer: its process has ended, or the network is down. Start it again (tandem up) and try again.`);
  }
}

const reach = (path, options) => reached(fetch(path, options), options.signal);

/** Rejects with ApiError for what is refused, or lost. */
export async function fetched(path, options = {}) {
  const response = await reach(path, { ...options, headers: { ...headers(), ...options.headers } });
  if (!response.ok) throw await refusal(response);
  return response;
}

const call = async (path, options, root = "/api") => (await fetched(root + path, options)).json();

let mostBytes = Infinity;

/** A body that is too large is not sent: the server would cut the connection, which a browser does not explain. */
async function post(path, content, root) {
  const body = new Blob([JSON.stringify(content ?? {})]);
  const more = body.size - mostBytes;
  if (more > 0) {
    const [has, beyond, most] = [body.size, more, mostBytes].map((bytes) => bytes.toLocaleString("en"));
    throw new ApiError(413, `The question is too large: it has ${has} bytes, ${beyond} more than the ${most} that the server takes. Shorten it.`);
  }
  return call(path, { method: "POST", body, headers: { "content-type": "application/json" } }, root);
}

export async function getProfiles() {
  const served = await call("/profiles");
  mostBytes = served.max_body_bytes;
  return served;
}
export const getRequests = (where, limit) => call(`/requests?${new URLSearchParams({ where, limit })}`);
export const getTimeline = (id) => call(`/requests/${encodeURIComponent(id)}/timeline`);
export const getRequest = (id) => call(`/requests/${encodeURIComponent(id)}`);
export const ask = (asked) => post("/requests", asked);
/** What outcomes say of a tenant's policies; empty: the caller's own. */
export const getPromises = (tenant) => call(`/promises?${new URLSearchParams({ tenant })}`, {}, "/v1/tandem");
/** Whether an answer was right. */
export const report = (id, isRight) => post("/outcomes", { request_id: id, right: isRight }, "/v1/tandem");
export const cancel = (id) => post(`/requests/${encodeURIComponent(id)}/cancel`);

/**
 * Calls `onEvent` for each event of a request, to its last one. A lost connection is taken up after the last event that came.
 * As EventSource does, which cannot send a key. Rejects with ApiError where the server refuses.
 *
 * A gateway whose log does not answer sends the result without the text before it. `isWhole` then says so, and what is missing is
 * asked for a few times more; an event that came already may come again. `onLost` is told why nothing comes, and null when
 * something does.
 */
export async function follow(id, onEvent, isWhole, signal, onLost) {
  let last = "";
  let ends = 0;
  while (!signal.aborted) {
    try {
      const sent = { ...headers(), ...(last && { "last-event-id": last }) };
      const response = await reach(`/api/requests/${encodeURIComponent(id)}/events`, { headers: sent, signal });
      if (!response.ok) throw await refusal(response);
      onLost(null);
      for await (const { id: eventId, data } of events(response.body)) {
        onEvent(data);
        if (data.kind === "failed") return;
        if (data.kind !== "completed") last = eventId || last;
        else if (isWhole() || (ends += 1) === MOST_ENDS) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      const status = error instanceof ApiError ? error.status : undefined;
      if (status > 0 && status < 500) throw error;
      if (status !== undefined) onLost(error); // else the connection was cut, and the next attempt says more
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const event = parse(block);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parse(block) {
  const fields = Object.fromEntries(
    block
      .split("\n")
      .filter((line) => line && !line.startsWith(":"))
      .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]),
  );
  return fields.data && { id: fields.id, data: JSON.parse(fields.data) };
}
