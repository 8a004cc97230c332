// Numbers and words as the page writes them.

/** Decimals for so many significant digits: a request costs far less than a cent. */
const decimals = (value, digits = 3) => Math.min(8, Math.max(2, digits - 1 - Math.floor(Math.log10(Math.abs(value)))));

const dollars = (value, digits) => `${value < 0 ? "−" : ""}$${Math.abs(value).toFixed(digits)}`;

export function usd(value) {
  if (value === null || value === undefined) return "–";
  return value === 0 ? "$0" : dollars(value, decimals(value));
}

/** Writes all of a column with the same decimals, so that they can be compared by their length. */
export function usdColumn(values, significant = 3) {
  const shown = values.filter(Boolean).map(Math.abs);
  const digits = shown.length ? decimals(Math.min(...shown), significant) : 2;
  return (value) => {
    if (value === null || value === undefined) return "–";
    return value === 0 ? "$0" : dollars(value, digits);
  };
}

export const count = (value) => (value ?? 0).toLocaleString("en");

export const score = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));

export function percent(ratio) {
  if (ratio === null || ratio === undefined || !Number.isFinite(ratio)) return "–";
  return `${ratio < 0 ? "−" : ""}${Math.abs(ratio * 100).toFixed(0)} %`;
}

export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

export function time(ms) {
  const date = new Date(ms);
  const two = (n) => String(n).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

const REASONS = {
  sufficient: "A stage's score reached its threshold",
  best_stage: "No stage sufficed; the best one was used",
  llm_finished: "The large model answered by itself",
  budget: "The budget ended the insight",
  llm_unavailable: "The large model could not be reached",
  scorer_failed_open: "No stage could be scored; the last insight was used",
  cancelled: "Stopped by hand",
  verified: "An answer passed its checks",
  unverified_best: "No answer passed its checks; the best was used",
};
export const STOP_REASONS = Object.keys(REASONS);
export const reason = (name) => REASONS[name] ?? "";
export const words = (name) => (name ?? "").replaceAll("_", " ");
