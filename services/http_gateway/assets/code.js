// A block of code: coloured where its language is known, and copied by a button. The colouring is loaded with the first block.
import { html, useEffect, useMemo, useState } from "./html.js";

const LANGUAGES = ["python", "javascript", "json", "bash", "sql"];
const ALIASES = { py: "python", python3: "python", js: "javascript", node: "javascript", sh: "bash", shell: "bash", console: "bash", zsh: "bash" };
const COPIED_MS = 1500;

let loaded = null;

async function load() {
  const [core, ...grammars] = await Promise.all(
    [import("./vendor/highlight/core.js"), ...LANGUAGES.map((name) => import(`./vendor/highlight/${name}.js`))]);
  LANGUAGES.forEach((name, index) => core.default.registerLanguage(name, grammars[index].default));
  return core.default;
}

/** `title`: what stands above it, else its language. */
export function Code({ text, language, title }) {
  const [highlighter, setHighlighter] = useState(() => loaded);
  useEffect(() => {
    if (!highlighter) load().then((found) => setHighlighter(() => (loaded = found)), () => {});
  }, []);
  const asked = language.split(/\s/)[0].toLowerCase();
  const name = ALIASES[asked] ?? asked;
  const shown = useMemo(() => {
    const isKnown = highlighter && LANGUAGES.includes(name);
    return html`<pre tabindex="0"><code>${isKnown ? nodes(highlighter.highlight(text, { language: name })._emitter.rootNode) : text}</code></pre>`;
  }, [highlighter, text, name]);
  return html`
    <figure class="block">
      <figcaption><span>${title ?? asked}</span>
        <${CopyButton} text=${text} /></figcaption>
      ${shown}
    </figure>`;
}

const nodes = ({ children }) =>
  children.map((child) => (typeof child === "string" ? child : html`<span class=${`hl-${(child.scope ?? "").split(".")[0]}`}>${nodes(child)}</span>`));

/** A button that copies a text. */
export function CopyButton({ text, label = "Copy" }) {
  const [isCopied, setCopied] = useState(false);
  useEffect(() => {
    const later = isCopied && setTimeout(() => setCopied(false), COPIED_MS);
    return () => clearTimeout(later);
  }, [isCopied]);
  return html`<button type="button" class="quiet" onClick=${() => copy(text).then(() => setCopied(true), () => {})}>${isCopied ? "Copied" : label}</button>`;
}

/** A page that came over plain HTTP from another machine has no clipboard. */
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
