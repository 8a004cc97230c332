// Markdown's tokens, and those of formulas in LaTeX: `$…$`, `\(…\)`, `$$…$$`, `\[…\]`, `\boxed{…}`. Loaded with the first text.
import { Marked } from "./vendor/marked.js";

/** A token is { type: "formula", tex, isDisplay }. Within a formula no paragraph ends. */
const DISPLAY = /^(?:\$\$((?:(?!\n\s*\n|\$\$)[^]){1,4000})\$\$|\\\[((?:(?!\n\s*\n|\\\])[^]){1,4000})\\\])/;
const BRACKETS = /^\\\(((?:(?!\n\s*\n|\\\))[^]){1,4000})\\\)/;
/** As Pandoc reads dollars: no space within them, and no word or number behind. */
const DOLLARS = /^\$(?!\s)((?:\\.|[^\\$\n`]){0,1000}[^\s\\$`])\$(?![\w$])/;
/** A final answer, which models are asked to write so; it needs no signs around it. */
const BOXED = /^\\boxed\{((?:[^{}]|\{[^{}]*\})+)\}/;
/** Where one may begin: not after a backslash, and no dollar after a word, as in US$. */
const START = /(?<!\\)\\(?:[([]|boxed\{)|(?<![\w\\$])\$/;
/** A sum of money and what it is for: `$20 for me and 30$`. */
const MONEY = /^\d[\d.,]*\s+[a-z]{2}/i;
/** Brackets that Markdown escapes: `\[see below\]`. */
const WORDS = /^\s*[a-z]{2,}(\s+[a-z]+)*[.,;:!?]?\s*$/i;

const formula = (raw, tex, isDisplay) => ({ type: "formula", raw, tex: tex.trim(), isDisplay });

function inline(text) {
  const display = DISPLAY.exec(text);
  if (display) return WORDS.test(display[2] ?? "") ? undefined : formula(display[0], display[1] ?? display[2], true);
  const brackets = BRACKETS.exec(text);
  if (brackets) return WORDS.test(brackets[1]) ? undefined : formula(brackets[0], brackets[1], false);
  const boxed = BOXED.exec(text);
  if (boxed) return formula(boxed[0], `\\boxed{${/[\\^_]/.test(boxed[1]) ? boxed[1] : `\\text{${boxed[1]}}`}}`, false);
  const dollars = DOLLARS.exec(text);
  return dollars && !MONEY.test(dollars[1]) ? formula(dollars[0], dollars[1], false) : undefined;
}

/** On lines of its own: a paragraph ends before it. */
function block(text) {
  const indent = /^ {0,3}/.exec(text)[0];
  const display = DISPLAY.exec(text.slice(indent.length));
  const end = display && /^[^\S\n]*(?:\n+|$)/.exec(text.slice(indent.length + display[0].length));
  if (!end || WORDS.test(display[2] ?? "")) return undefined;
  return formula(indent + display[0] + end[0], display[1] ?? display[2], true);
}

const marked = new Marked({ gfm: true, breaks: true }, {
  extensions: [
    { name: "formula_block", level: "block", start: (text) => indexOf(/(?<=\n) {0,3}(?:\$\$|\\\[)/, text), tokenizer: block },
    { name: "formula", level: "inline", start: (text) => indexOf(START, text), tokenizer: inline },
  ],
});

function indexOf(pattern, text) {
  const found = pattern.exec(text);
  return found ? found.index : undefined;
}

export const lexer = (text) => marked.lexer(text);
