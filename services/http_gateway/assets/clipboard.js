// A button that copies a text.
import { html, useEffect, useState } from "./html.js";

const COPIED_MS = 1500;

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
