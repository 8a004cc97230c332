// Sums over listed requests. One that was stopped by hand has saved nothing, and is left out.

const isCounted = ({ state, usd, saved_ratio: saved }) => state === "completed" && usd !== null && saved !== null;

/** `saved` is 1 - usd / alone, so this undoes it. */
const alone = ({ usd, saved_ratio: saved }) => (saved < 1 ? usd / (1 - saved) : 0);

export function total(requests) {
  const counted = requests.filter(isCounted);
  const sum = (value) => counted.reduce((whole, request) => whole + value(request), 0);
  const usd = sum((request) => request.usd);
  const without = sum(alone);
  const cancelled = requests.filter(({ state }) => state === "cancelled").length;
  return {
    count: counted.length,
    usd,
    alone: without,
    saved: without ? 1 - usd / without : null,
    cancelled,
    unfinished: requests.length - counted.length - cancelled,
  };
}

/** [name, total] of each group, the largest first. */
export function by(requests, name) {
  const groups = Map.groupBy(requests.filter(isCounted), name);
  return [...groups].map(([key, members]) => [key, total(members)]).sort(([, a], [, b]) => b.count - a.count);
}

/** [seconds, cost so far, cost so far of the large model alone], as columns, by time. */
export function points(requests) {
  const columns = [[], [], []];
  let [usd, without] = [0, 0];
  for (const request of requests.filter(isCounted).sort((a, b) => a.started_at_unix_ms - b.started_at_unix_ms)) {
    usd += request.usd;
    without += alone(request);
    [request.started_at_unix_ms / 1000, usd, without].forEach((value, index) => columns[index].push(value));
  }
  return columns;
}
