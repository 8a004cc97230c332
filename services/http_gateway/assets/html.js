// The toolkit in one place: Preact, its hooks, and templates as tagged strings, so that nothing has to be built.
import { h } from "./vendor/preact.js";
import htm from "./vendor/htm.js";

export { render } from "./vendor/preact.js";
export { useEffect, useRef, useState } from "./vendor/preact-hooks.js";
export const html = htm.bind(h);
