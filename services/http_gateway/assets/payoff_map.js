// The planner's picture: the expected saving by cost ratio and AUROC, and where the pair stands.
import { getPlanMap } from "./api.js";
import { percent } from "./format.js";
import { html } from "./html.js";
import { never, PAUSE_MS, useReading } from "./reading.js";

const TICKS = { ratio: [1, 2, 5, 10, 20, 50, 100], auroc: [0.5, 0.6, 0.7, 0.8, 0.9, 1] };
const LEVELS = [0, 0.25, 0.5, 0.75, 1];
/** A saving of 1 is the full colour. */
const ink = (saving) => Math.max(0, saving).toFixed(3);
const across = (ratio) => (Math.log10(ratio) / 2) * 100;
const up = (auroc) => (1 - auroc) * 200;

/** `saving`: of the pair itself. The map is the same for all places on it. */
export function PayoffMap({ pair, saving }) {
  const { small, large, both, check } = pair;
  const given = { small, large, both, check };
  const { found } = useReading((signal) => getPlanMap(given, signal), given, never, PAUSE_MS);
  const squares = found ? found.savings.flatMap((row, y) => row.map((value, x) => [x, y, value])) : [];
  const [width, height] = found ? [100 / (found.ratios.length - 1), 100 / (found.aurocs.length - 1)] : [];
  return html`
    <figure class="map">
      <figcaption class="note">Saving of the cheapest policy, by cost ratio and AUROC. <b>◆</b> these figures: ${percent(saving)}</figcaption>
      <div class="plot">
        <span class="up" aria-hidden="true">AUROC</span>
        ${TICKS.auroc.map((auroc) => html`<span class="level" aria-hidden="true" style=${{ top: `${up(auroc)}%` }}>${auroc.toFixed(1)}</span>`)}
        <svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">
          ${squares.map(([x, y, value]) => html`
            <rect x=${across(found.ratios[x]) - width / 2} y=${up(found.aurocs[y]) - height / 2} width=${width} height=${height}
              shape-rendering="crispEdges" fill-opacity=${ink(value)} />`)}
        </svg>
        <b class="place" aria-hidden="true" style=${{ left: `${across(pair.ratio)}%`, top: `${up(pair.auroc)}%` }}>◆</b>
        ${TICKS.ratio.map((ratio) => html`<span class="across" aria-hidden="true" style=${{ left: `${across(ratio)}%` }}>${ratio}</span>`)}
      </div>
      <p class="note scale-of">cost of a large answer : of a small one
        <span class="key-of" aria-hidden="true">${LEVELS.map((level) => html`
          <span><svg width="14" height="14"><rect width="14" height="14" fill-opacity=${ink(level)} /></svg> ${percent(level)}</span>`)}</span></p>
    </figure>`;
}
