// Numbers and words as the page writes them; no line ends within an amount.

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
  return `${ratio < 0 ? "−" : ""}${Math.abs(ratio * 100).toFixed(0)}\u00a0%`;
}

/** The bounds of an interval; empty where there is none. */
export const between = (low, high, write) =>
  low === null || low === undefined || high === null || high === undefined ? "" : `[${write(low)}, ${write(high)}]`;

export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  return ms < 1000 ? `${ms.toFixed(0)}\u00a0ms` : `${(ms / 1000).toFixed(1)}\u00a0s`;
}

export function time(ms) {
  const date = new Date(ms);
  const two = (n) => String(n).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

// Why a request ended as it did, for people: in a list, and as a sentence.
const REASONS = {
  sufficient: ["small model, early", "The large model was stopped early and the small model answered: a stage's score reached its threshold"],
  best_stage: ["small model, best stage", "No stage sufficed; the small model answered from the best one"],
  llm_finished: ["large model", "The large model answered by itself"],
  budget: ["budget spent", "The budget ended what the large model wrote"],
  llm_unavailable: ["small model, large one failed", "The large model failed, so the small model answered"],
  scorer_failed_open: ["not scored", "No stage could be scored; the last insight was used"],
  cancelled: ["stopped by hand", "Stopped by hand"],
  verified: ["small model, checked", "The small model's answer passed its checks"],
  unverified_best: ["checks failed", "No answer passed its checks; the best was used"],
};
export const STOP_REASONS = Object.keys(REASONS);
export const reason = (name) => REASONS[name]?.[1] ?? words(name);
export const ending = (name) => REASONS[name]?.[0] ?? words(name);
export const words = (name) => (name ?? "").replaceAll("_", " ");
