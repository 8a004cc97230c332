// The least expected cost of a pair at the large model's accuracy: what `tandem plan` computes from typed figures
// (lab/training/payoff.py, lab/training/route.py), for pairs without stages. A test holds both equal. Costs are of the large model's answer.
import { cdf, quantile } from "./normal.js";

export const CORRELATION = 0.6;
const MAX_CORRELATION = 0.999;
const PASSES = { right: 0.97, wrong: 0.06 };
const MAX_DISTANCE = 40;
const GRID = Array.from({ length: 241 }, (_, index) => -6 + index * 0.05);
const [LOW_WORTH, HIGH_WORTH] = [Math.log(1e-4), Math.log(1e5)];
const HALVINGS = 26;
const ROUNDING = 1e-9;
const NODES = legendre(48);

/** A pair: `small`, `large`, `both` (null: by the usual correlation), `ratio` of prices, `auroc`, `check` (share of the tasks). */
export function payoff(pair) {
  const cells = cellsOf(pair);
  const trial = 1 / pair.ratio;
  const alone = { cost: 1, accuracy: pair.large };
  const distance = Math.max(-MAX_DISTANCE, Math.min(MAX_DISTANCE, Math.SQRT2 * quantile(pair.auroc)));
  const scored = byScore(cells.map(({ small }) => (small ? distance : 0)));
  const passes = cells.map(({ small }) => (small ? PASSES.right : PASSES.wrong));
  const checked = [passes.map(() => 0), passes, passes.map((pass) => 1 - pass), passes.map(() => 1)];
  const along = (worth, ...all) =>
    [alone, ...all.map((options) => bestStop(options, cells, trial, worth))].reduce((best, point) =>
      worth * point.accuracy - point.cost > worth * best.accuracy - best.cost ? point : best);
  const found = { cascade: leastCost((worth) => along(worth, scored), pair.large) };
  if (pair.check) {
    found.check = leastCost(
      (worth) => mixed(along(worth, scored), along(worth, scored, checked), pair.check), pair.large);
    found.check_all = checkAll(pair, cells, passes, trial, alone);
  }
  return found;
}

/** Cost of the cheapest policy at the large model's accuracy. */
export function least(pair) {
  const { cascade, check } = payoff(pair);
  return Math.min(1, cascade.cost, check?.cost ?? 1);
}

const MAX_ACCURACY = 0.999;
const LEVERS = [
  ["small model's accuracy", "+5 points", (pair) => ({ ...withCorrelation(pair), small: Math.min(MAX_ACCURACY, pair.small + 0.05) })],
  ["cost ratio", "x2", (pair) => ({ ...pair, ratio: 2 * pair.ratio })],
  ["AUROC", "+0.05", (pair) => ({ ...pair, auroc: Math.min(1, pair.auroc + 0.05) })],
  ["share with a check", "+10 points", (pair) => ({ ...pair, check: Math.min(1, pair.check + 0.1) })],
];

/** [lever, change, what it saves more] by size. */
export function effects(pair) {
  const now = least(pair);
  return LEVERS.map(([name, change, changed]) => [name, change, now - least(changed(pair))]).sort((a, b) => b[2] - a[2]);
}

const withCorrelation = (pair) => ({ ...pair, both: null, correlation: correlationOf(pair) });

/** Range of the share that both answer right. */
export const bounds = ({ small, large }) => [Math.max(0, small + large - 1), Math.min(small, large)];

/** Share that both answer right: the bivariate normal integral over the correlation, by its arc sine (Plackett 1954). */
export function bothRight(small, large, correlation) {
  const clip = (share) => quantile(Math.min(1 - 1e-12, Math.max(1e-12, share)));
  const [h, k, end] = [clip(small), clip(large), Math.asin(correlation)];
  let joint = small * large;
  for (const [node, weight] of NODES) {
    const angle = (end / 2) * (node + 1);
    const exponent = -(h * h + k * k - 2 * h * k * Math.sin(angle)) / (2 * Math.cos(angle) ** 2);
    joint += ((end / 2) * weight * Math.exp(exponent)) / (2 * Math.PI);
  }
  return Math.min(small, large, Math.max(0, small + large - 1, joint));
}

function correlationOf({ small, large, both, correlation }) {
  if (both === null || both === undefined) return correlation ?? CORRELATION;
  let [low, high] = [-MAX_CORRELATION, MAX_CORRELATION];
  for (let step = 0; step < 50; step += 1) {
    const middle = (low + high) / 2;
    if (bothRight(small, large, middle) < both) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** Kinds of questions by who answers them right, with their shares. */
function cellsOf(pair) {
  const { small, large } = pair;
  const both = bothRight(small, large, correlationOf(pair));
  const kinds = [[both, true, true], [large - both, false, true], [small - both, true, false], [1 - small - large + both, false, false]];
  return kinds.map(([share, isSmall, isLarge]) => ({ share: Math.max(0, share), small: isSmall, large: isLarge }));
}

/** Chances to stop each kind, one row for each threshold of a score that is normal about `means`. */
function byScore(means) {
  const thresholds = [...new Set([...new Set(means)].flatMap((mean) => GRID.map((at) => mean + at)))].sort((a, b) => b - a);
  return [means.map(() => 0), ...thresholds.map((at) => means.map((mean) => cdf(mean - at))), means.map(() => 1)];
}

/** The stop that maximises `worth` * accuracy - cost, where the small model has answered at the cost `trial`. */
function bestStop(options, cells, trial, worth) {
  const gain = cells.map(({ share, small, large }) => share * (worth * (small - large) + 1));
  let [best, most] = [0, -Infinity];
  options.forEach((option, index) => {
    let sum = 0;
    for (let cell = 0; cell < gain.length; cell += 1) sum += option[cell] * gain[cell];
    if (sum > most) [best, most] = [index, sum];
  });
  if (most <= trial) return { cost: 1, accuracy: sumOf(cells, ({ large }) => Number(large)) };
  const stop = options[best];
  return {
    cost: trial + sumOf(cells, (_, index) => 1 - stop[index]),
    accuracy: sumOf(cells, ({ small, large }, index) => large + stop[index] * (small - large)),
  };
}

const sumOf = (cells, value) => cells.reduce((sum, cell, index) => sum + cell.share * value(cell, index), 0);

const mixed = (one, other, share) => ({
  cost: one.cost + share * (other.cost - one.cost),
  accuracy: one.accuracy + share * (other.accuracy - one.accuracy),
});

/** What passes is the small model's answer; the large one answers the rest. It may be more accurate than the large model. */
function checkAll(pair, cells, passes, trial, alone) {
  const tried = {
    cost: trial + 1 - sumOf(cells, (_, index) => passes[index]),
    accuracy: sumOf(cells, ({ small, large }, index) =>
      small ? passes[index] + (1 - passes[index]) * large : (1 - passes[index]) * large),
  };
  return mixed(alone, tried, pair.check);
}

/** Of the policies that are best at some worth of accuracy, the cheapest with this accuracy; mixed where no single one has it. */
function leastCost(pointAt, accuracy) {
  let [low, high] = [LOW_WORTH, HIGH_WORTH];
  let [cheap, accurate] = [pointAt(Math.exp(low)), pointAt(Math.exp(high))];
  if (cheap.accuracy >= accuracy) return noDearer(cheap, accuracy);
  for (let step = 0; step < HALVINGS && accurate.accuracy - cheap.accuracy >= ROUNDING; step += 1) {
    const middle = (low + high) / 2;
    const found = pointAt(Math.exp(middle));
    if (found.accuracy < accuracy) [low, cheap] = [middle, found];
    else [high, accurate] = [middle, found];
  }
  const share = (accuracy - cheap.accuracy) / Math.max(accurate.accuracy - cheap.accuracy, ROUNDING);
  return noDearer(mixed(cheap, accurate, share), accuracy);
}

const noDearer = (point, accuracy) => (point.cost < 1 - ROUNDING ? point : { cost: 1, accuracy });

/** [node, weight] of the Gauss-Legendre rule with `count` nodes, by Newton's method. */
function legendre(count) {
  return Array.from({ length: count }, (_, index) => {
    let node = Math.cos((Math.PI * (index + 0.75)) / (count + 0.5));
    let slope = 1;
    for (let step = 0; step < 20; step += 1) {
      let [before, value] = [1, node];
      for (let degree = 2; degree <= count; degree += 1) {
        [before, value] = [value, ((2 * degree - 1) * node * value - (degree - 1) * before) / degree];
      }
      slope = (count * (node * value - before)) / (node * node - 1);
      node -= value / slope;
    }
    return [node, 2 / ((1 - node * node) * slope * slope)];
  });
}
