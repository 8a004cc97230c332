// The planner's picture: the expected saving by cost ratio and AUROC, and where the pair stands.
import { percent } from "./format.js";
import { html, useEffect, useState } from "./html.js";
import { least } from "./payoff.js";

const RATIOS = Array.from({ length: 17 }, (_, index) => 10 ** (index / 8));
const AUROCS = Array.from({ length: 11 }, (_, index) => 0.5 + index / 20);
const TICKS = { ratio: [1, 2, 5, 10, 20, 50, 100], auroc: [0.5, 0.6, 0.7, 0.8, 0.9, 1] };
const LEVELS = [0, 0.25, 0.5, 0.75, 1];
/** A saving of 1 is the full colour. */
const ink = (saving) => Math.max(0, saving).toFixed(3);
const across = (ratio) => (Math.log10(ratio) / 2) * 100;
const up = (auroc) => (1 - auroc) * 200;

export function PayoffMap({ pair }) {
  const savings = useSavings(pair);
  const [width, height] = [100 / (RATIOS.length - 1), 100 / (AUROCS.length - 1)];
  return html`
    <figure class="map">
      <figcaption class="note">Expected saving, by cost ratio and AUROC. <b>◆</b> this pair: ${percent(1 - least(pair))}</figcaption>
      <div class="plot">
        <span class="up" aria-hidden="true">AUROC</span>
        ${TICKS.auroc.map((auroc) => html`<span class="level" aria-hidden="true" style=${{ top: `${up(auroc)}%` }}>${auroc.toFixed(1)}</span>`)}
        <svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">
          ${savings.map(({ ratio, auroc, saving }) => html`
            <rect x=${across(ratio) - width / 2} y=${up(auroc) - height / 2} width=${width} height=${height}
              shape-rendering="crispEdges" fill-opacity=${ink(saving)} />`)}
        </svg>
        <b class="place" aria-hidden="true" style=${{ left: `${across(pair.ratio)}%`, top: `${up(pair.auroc)}%` }}>◆</b>
        ${TICKS.ratio.map((ratio) => html`<span class="across" aria-hidden="true" style=${{ left: `${across(ratio)}%` }}>${ratio}</span>`)}
      </div>
      <p class="note scale-of">price of a large token : of a small one
        <span class="key-of" aria-hidden="true">${LEVELS.map((level) => html`
          <span><svg width="14" height="14"><rect width="14" height="14" fill-opacity=${ink(level)} /></svg> ${percent(level)}</span>`)}</span></p>
    </figure>`;
}

/** After the frame in which a slider moved: hundreds of pairs take longer than a frame. The map is the same for all places on it. */
function useSavings({ small, large, both, check }) {
  const [savings, setSavings] = useState([]);
  useEffect(() => {
    const later = setTimeout(() =>
      setSavings(AUROCS.flatMap((auroc) => RATIOS.map((ratio) =>
        ({ ratio, auroc, saving: 1 - least({ small, large, both, check, ratio, auroc }) })))), 60);
    return () => clearTimeout(later);
  }, [small, large, both, check]);
  return savings;
}
