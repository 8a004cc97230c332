// What a model writes, as Markdown: from its tokens to elements. HTML in it is shown as text; nothing is ever read as HTML.
import { Code } from "./code.js";
import { Formula } from "./formula.js";
import { html, useEffect, useMemo, useState } from "./html.js";

let loaded = null;

/** `text` as it is, until the parser is here. */
export function Markdown({ text }) {
  const [lexer, setLexer] = useState(() => loaded);
  useEffect(() => {
    if (!lexer) import("./markdown_lexer.js").then((found) => setLexer(() => (loaded = found.lexer)), () => {});
  }, []);
  const prose = useMemo(() => lexer && html`<div class="prose">${blocks(lexer(text))}</div>`, [lexer, text]);
  return prose ?? html`<p class="plain">${text}</p>`;
}

const blocks = (tokens) => tokens.map(block);

function block(token) {
  switch (token.type) {
    case "space":
    case "def":
      return null;
    case "heading":
      return html`<p class="title" role="heading" aria-level=${Math.min(6, token.depth + 2)}>${spans(token.tokens)}</p>`;
    case "paragraph":
      return html`<p>${spans(token.tokens)}</p>`;
    case "code":
      return html`<${Code} text=${token.text} language=${token.lang ?? ""} />`;
    case "blockquote":
      return html`<blockquote>${blocks(token.tokens)}</blockquote>`;
    case "formula":
      return html`<p><${Formula} ...${token} /></p>`;
    case "hr":
      return html`<hr />`;
    case "list":
      return list(token);
    case "table":
      return table(token);
    case "text": // of a tight list
      return token.tokens ? html`<span>${spans(token.tokens)}</span>` : token.text;
    default:
      return html`<p>${token.raw}</p>`;
  }
}

function list({ ordered, start, items }) {
  const rows = items.map((item) => html`<li>${item.task && (item.checked ? "☑ " : "☐ ")}${blocks(item.tokens.filter(({ type }) => type !== "checkbox"))}</li>`);
  return ordered ? html`<ol start=${start || 1}>${rows}</ol>` : html`<ul>${rows}</ul>`;
}

function table({ header, rows }) {
  return html`
    <div class="scroll" tabindex="0" role="group" aria-label="Table"><table>
      <thead><tr>${header.map((cell) => html`<th scope="col">${spans(cell.tokens)}</th>`)}</tr></thead>
      <tbody>${rows.map((row) => html`<tr>${row.map((cell) => html`<td>${spans(cell.tokens)}</td>`)}</tr>`)}</tbody>
    </table></div>`;
}

const spans = (tokens) => tokens.map(span);

function span(token) {
  switch (token.type) {
    case "strong":
      return html`<strong>${spans(token.tokens)}</strong>`;
    case "em":
      return html`<em>${spans(token.tokens)}</em>`;
    case "del":
      return html`<del>${spans(token.tokens)}</del>`;
    case "formula":
      return html`<${Formula} ...${token} />`;
    case "codespan":
      return html`<code>${token.text}</code>`;
    case "br":
      return html`<br />`;
    case "link":
      return link(token);
    case "escape":
      return token.text;
    case "text":
      return token.tokens ? spans(token.tokens) : token.raw;
    default: // an image is not fetched
      return token.raw;
  }
}

/** Leads out of the page by the reader's click alone, and only to what a browser shows. */
function link({ href, tokens, raw }) {
  if (!/^(https?|mailto):/i.test(href)) return raw;
  return html`<a href=${href} rel="noreferrer noopener" target="_blank">${spans(tokens)}</a>`;
}
