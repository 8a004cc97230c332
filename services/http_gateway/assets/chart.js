// Lines over time. uPlot is loaded only where there is a chart.
import { time } from "./format.js";
import { html, useEffect, useRef } from "./html.js";

const HEIGHT = 280;
const DAY = "\n{D} {MMM}";
// uPlot's rows: seconds between ticks, a tick's text, and what stands below it where year, month or day begin; 1 joins both.
const TIMES = [
  [365 * 86400, "{YYYY}", null, null, null, null, null, null, 1],
  [28 * 86400, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [86400, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", DAY, null, DAY, null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", DAY, null, DAY, null, null, null, 1],
];

/** `points`: seconds, then the values of each of `lines`; `value` writes one, `axis` gives the writer of an axis with these ticks. */
export function Chart({ points, lines, label, value, axis }) {
  const box = useRef(null);
  useEffect(() => {
    const element = box.current; // the reference is gone before what still observes it
    let plot = null;
    let isGone = false;
    const draw = async () => {
      const [{ default: UPlot }] = await Promise.all([import("./vendor/uplot.js"), document.fonts.ready]);
      if (isGone) return;
      plot?.destroy();
      plot = new UPlot(options(element, { lines, value, axis }), points, element);
    };
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const watch = new ResizeObserver(() => plot?.setSize({ width: element.clientWidth, height: HEIGHT }));
    watch.observe(element);
    dark.addEventListener("change", draw);
    draw();
    return () => {
      isGone = true;
      watch.disconnect();
      dark.removeEventListener("change", draw);
      plot?.destroy();
    };
  }, [points]);
  return html`<div class="chart" role="img" aria-label=${label} ref=${box}></div>`;
}

function options(box, { lines, value: written, axis: writer }) {
  const style = getComputedStyle(box);
  const color = (name) => style.getPropertyValue(name).trim();
  const axis = {
    stroke: color("--muted"),
    font: `12px ${style.fontFamily}`,
    grid: { stroke: color("--rule"), width: 1 },
    ticks: { stroke: color("--rule"), width: 1, size: 4 },
  };
  const line = ({ label, name, ...more }) => ({
    label, stroke: color(name), width: 2, points: { show: false }, ...more,
    value: (plot, value, series, index) => written(index === null ? plot.data[series].at(-1) : value),
  });
  return {
    width: box.clientWidth,
    height: HEIGHT,
    series: [
      { label: "Until", value: (plot, value, _, index) => time((index === null ? plot.data[0].at(-1) : value) * 1000) },
      ...lines.map(line),
    ],
    axes: [{ ...axis, values: TIMES, space: 64 }, { ...axis, size: 64, values: (_, ticks) => ticks.map(writer(ticks)) }],
    scales: { y: { range: (_, __, max) => [0, max * 1.05] } },
    cursor: { y: false },
  };
}
