// Sums over listed requests. One that was stopped by hand, or cut off at a limit, has saved nothing and is left out.

const hasEnded = ({ state, usd }) => state === "completed" && usd !== null;
const isCounted = (request) => hasEnded(request) && request.saved_ratio !== null;

/** What the large model alone would have cost is an estimate where another model has answered. */
export const isEstimated = (request) => isCounted(request) && request.reason !== "llm_finished";

/** `saved` is 1 - usd / alone, so this undoes it. */
const alone = ({ usd, saved_ratio: saved }) => (saved < 1 ? usd / (1 - saved) : 0);

export function total(requests) {
  const counted = requests.filter(isCounted);
  const sum = (value) => counted.reduce((whole, request) => whole + value(request), 0);
  const usd = sum((request) => request.usd);
  const without = sum(alone);
  const failed = requests.filter((request) => hasEnded(request) && request.reason === "llm_unavailable").length;
  const cut = requests.filter(hasEnded).length - counted.length - failed;
  const cancelled = requests.filter(({ state }) => state === "cancelled").length;
  const unpriced = requests.filter(({ state, usd: bill }) => state === "completed" && bill === null).length;
  return {
    count: counted.length,
    usd,
    alone: without,
    saved: without ? 1 - usd / without : null,
    isEstimated: counted.some(isEstimated),
    cancelled,
    cut,
    failed,
    unpriced,
    unfinished: requests.length - counted.length - cancelled - cut - failed - unpriced,
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

export const QUANTILES = [["p50", 0.5], ["p95", 0.95], ["p99", 0.99]];
const BUCKETS = 24;

/** Smallest duration that so many of the requests do not exceed, in milliseconds; null without requests. */
export function quantile(requests, share) {
  const sorted = requests.map(({ duration_ms: ms }) => ms).sort((a, b) => a - b);
  return sorted.length ? sorted[Math.ceil(share * sorted.length) - 1] : null;
}

export const timed = (requests) => requests.filter((request) => isCounted(request) && request.duration_ms !== null);

/** [name, requests] of each profile or tenant, the largest first. */
export const latencies = (requests, name) =>
  [...Map.groupBy(timed(requests), name)].sort(([, a], [, b]) => b.length - a.length);

/** [seconds, p50, p95] as columns, one row for each part of the period that has requests. */
export function latencyPoints(requests) {
  const all = timed(requests);
  const starts = all.map(({ started_at_unix_ms: at }) => at);
  const [first, last] = [Math.min(...starts), Math.max(...starts)];
  const size = (last - first) / Math.min(BUCKETS, Math.ceil(Math.sqrt(all.length))) || 1;
  const buckets = Map.groupBy(all, ({ started_at_unix_ms: at }) => Math.min(Math.floor((at - first) / size), BUCKETS - 1));
  const rows = [...buckets].sort(([a], [b]) => a - b);
  return [
    rows.map(([index]) => (first + (index + 0.5) * size) / 1000),
    rows.map(([, found]) => quantile(found, 0.5)),
    rows.map(([, found]) => quantile(found, 0.95)),
  ];
}
