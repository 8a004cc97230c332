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

/** Marks that may begin or end something, of which each is looked for up to the end of the text: so many, and it is shown as it is. */
const MOST_MARKS = 500, MOST_CHARACTERS = 20_000;
/** Quotes and lists within each other, on one line. */
const DEEP = /^(?:[ \t]*(?:>|[-+*]|\d{1,9}[.)])){20}[^\n]*(?:\n|$)/;

function plain(raw) {
  const marks = raw.length > MOST_MARKS ? raw.match(/[_*~`[\]<$\\!]/g)?.length ?? 0 : 0;
  if (marks > MOST_MARKS || raw.length > MOST_CHARACTERS) return { type: "text", raw, text: raw };
}

function plainLine(text) {
  const raw = DEEP.exec(text)?.[0];
  return raw && { type: "plain", raw };
}

const marked = new Marked({ gfm: true, breaks: true }, {
  extensions: [
    { name: "plain", level: "inline", tokenizer: plain },
    { name: "plain_line", level: "block", tokenizer: plainLine },
    { name: "formula_block", level: "block", start: blockStart, tokenizer: block },
    { name: "formula", level: "inline", start: (text) => indexOf(START, text), tokenizer: inline },
  ],
});

/** Within this paragraph: a search through all the text, from each one, would take the square of its length. */
function blockStart(text) {
  const end = text.search(/\n[ \t]*\n/);
  return indexOf(/(?<=\n) {0,3}(?:\$\$|\\\[)/, end < 0 ? text : text.slice(0, end));
}

function indexOf(pattern, text) {
  const found = pattern.exec(text);
  return found ? found.index : undefined;
}

export function lexer(text) {
  try {
    return marked.lexer(text);
  } catch { // of the parser
    return [{ type: "plain", raw: text }];
  }
}
