// A formula in LaTeX as MathML, which the browser draws. Temml is loaded with the first one; its tree becomes elements here.
import { html, useEffect, useMemo, useState } from "./html.js";

/** No macro makes more of a text than so many steps, nothing is larger, and no command reaches out of the formula. */
const BOUNDS = { maxExpand: 500, maxSize: [25, 500], trust: false, throwOnError: true };
const KEPT_OUT = /^(on|href|src|xlink)/i;

let loaded = null;

/** `raw`, as it was written, until the library is here, and where it is no LaTeX. */
export function Formula({ tex, raw, isDisplay }) {
  const [temml, setTemml] = useState(() => loaded);
  useEffect(() => {
    if (!temml) import("./vendor/temml.js").then((found) => setTemml(() => (loaded = found.default)), () => {});
  }, []);
  const drawn = useMemo(() => temml && draw(temml, tex, isDisplay), [temml, tex, isDisplay]);
  if (!drawn) return raw;
  return isDisplay ? html`<span class="formula" tabindex="0" role="group" aria-label="Formula">${drawn}</span>` : drawn;
}

function draw(temml, tex, isDisplay) {
  try {
    const tree = temml.__renderToMathMLTree(tex, { ...BOUNDS, displayMode: isDisplay });
    return tree.type === "math" ? element(tree) : null;
  } catch {
    return null;
  }
}

function element(node) {
  if (node.text !== undefined) return node.text;
  const children = (node.children ?? []).map(element);
  if (!node.type) return children; // a fragment
  const attributes = Object.fromEntries(Object.entries(node.attributes).filter(([name]) => !KEPT_OUT.test(name)));
  return html`<${node.type} ...${attributes} class=${node.classes.filter(Boolean).join(" ") || undefined} style=${node.style}>${children}<//>`;
}
