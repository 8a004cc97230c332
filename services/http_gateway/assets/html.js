// The toolkit in one place: Preact, its hooks, and templates as tagged strings, so that nothing has to be built.
import { h } from "./vendor/preact.js";
import htm from "./vendor/htm.js";

export { render } from "./vendor/preact.js";
export { useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/preact-hooks.js";
const make = htm.bind(h);
const spaced = new WeakMap(); // htm knows a template by its list of strings

/** htm drops a line break at the edge of a text, HTML reads it as a blank: so does this, where a word is beside it. */
export function html(strings, ...values) {
  if (!spaced.has(strings)) spaced.set(strings, strings.map((text) => text.replace(/(?<=[^\s>])\s*\n\s*|\s*\n\s*(?=[^\s<])/g, " ")));
  return make(spaced.get(strings), ...values);
}

/** A row of a table whose rows are blocks on a narrow screen, where each cell says its head. */
export const Cells = ({ heads, cells }) => cells.map((cell, index) =>
  index ? html`<td data-head=${heads[index]}>${cell}</td>` : html`<th scope="row" data-head=${heads[0]}>${cell}</th>`);

/** What is wider than its place, and scrolls there; the keyboard reaches it. */
export const Scroll = ({ label, children }) => html`<div class="scroll" tabindex="0" role="group" aria-label=${label}>${children}</div>`;
