// The toolkit in one place: Preact, its hooks, and templates as tagged strings, so that nothing has to be built.
import { h } from "./vendor/preact.js";
import htm from "./vendor/htm.js";

export { render } from "./vendor/preact.js";
export { useEffect, useMemo, useRef, useState } from "./vendor/preact-hooks.js";
export const html = htm.bind(h);

/** A row of a table whose rows are blocks on a narrow screen, where each cell says its head. */
export const Cells = ({ heads, cells }) => cells.map((cell, index) =>
  index ? html`<td data-head=${heads[index]}>${cell}</td>` : html`<th scope="row" data-head=${heads[0]}>${cell}</th>`);

/** What is wider than its place, and scrolls there; the keyboard reaches it. */
export const Scroll = ({ label, children }) => html`<div class="scroll" tabindex="0" role="group" aria-label=${label}>${children}</div>`;
