// The standard normal distribution, to double precision.

const HALF_PI_ROOT = Math.sqrt(2 * Math.PI);
const UPPER = [220.206867912376, 221.213596169931, 112.079291497871, 33.912866078383, 6.37396220353165, 0.700383064443688, 3.52624965998911e-2];
const LOWER = [440.413735824752, 793.826512519948, 637.333633378831, 296.564248779674, 86.7807322029461, 16.064177579207, 1.75566716318264, 8.83883476483184e-2];

const polynomial = (factors, x) => factors.reduceRight((sum, factor) => sum * x + factor, 0);

/** Chance to be at most `x` (West 2005, after Hart 1968). */
export function cdf(x) {
  const at = Math.abs(x);
  if (at > 37) return x > 0 ? 1 : 0;
  const density = Math.exp((-at * at) / 2);
  let tail;
  if (at < 7.07106781186547) tail = (density * polynomial(UPPER, at)) / polynomial(LOWER, at);
  else tail = density / (at + 1 / (at + 2 / (at + 3 / (at + 4 / (at + 0.65))))) / HALF_PI_ROOT;
  return x > 0 ? 1 - tail : tail;
}

/** The x with `cdf(x) === share`, by bisection; infinite at 0 and 1. */
export function quantile(share) {
  if (share <= 0) return -Infinity;
  if (share >= 1) return Infinity;
  if (share > 0.5) return -quantile(1 - share);
  let [low, high] = [-38, 0];
  for (let step = 0; step < 60; step += 1) {
    const middle = (low + high) / 2;
    if (cdf(middle) < share) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
