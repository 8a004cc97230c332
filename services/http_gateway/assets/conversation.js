// A conversation: its turns are kept for this tab, and each question is sent with those before it.
import { html } from "./html.js";
import { Written } from "./panes.js";

const KEPT = "tandem-conversation";

/** Turns are { id, question, answer, parts }; the last one may have no answer yet. */
const turns = () => JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");

/** Beyond what the browser keeps the oldest turns are forgotten. */
export function keep(all) {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(all));
  } catch {
    if (all.length > 1) keep(all.slice(1));
  }
}


/** [the turns before the request `id`, its own]; neither where the tab does not know it. */
export function around(id) {
  const all = turns();
  const index = all.findIndex((turn) => turn.id === id);
  return index < 0 ? [[], null] : [all.slice(0, index), all[index]];
}

/** Completes a turn with what was answered. */
export const complete = (id, fields) => keep(turns().map((turn) => (turn.id === id ? { ...turn, ...fields } : turn)));

export const messages = (earlier, question, system) => [
  ...(system ? [{ role: "system", content: system }] : []),
  ...earlier.flatMap((turn) => [{ role: "user", content: turn.question }, { role: "assistant", content: turn.answer }]),
  { role: "user", content: question },
];

export function Earlier({ turns: earlier }) {
  return earlier.map((turn) => html`
    <article class="turn" key=${turn.id}>
      <p class="said">${turn.question}</p>
      <${Written} parts=${turn.parts} />
      <p class="note"><a href=${`#/requests/${encodeURIComponent(turn.id)}`}>How it was answered, and its bill</a></p>
    </article>`);
}

const EXAMPLES = [
  ["A function with examples", "code", 'def running_total(numbers: list[int]) -> list[int]:\n    """Sum of each prefix.\n\n    >>> running_total([1, 2, 3])\n    [1, 3, 6]\n    >>> running_total([])\n    []\n    """'],
  ["A question with one answer", "answer", "A train goes 210 km in 3 hours. How far does it go in 5 hours at the same speed?"],
  ["A chat", "chat", "My name is Ada. Explain in two sentences what a hash table is, and use my name."],
];

/** What this is, and three things to try. */
export function First({ choose }) {
  return html`
    <section class="first" aria-label="What this is">
      <p>A small and a large language model answer together: the small one where its answer can be checked or a score trusts it, the large
        one where not. You see <b class="llm">what the large model writes</b>, <b class="slm">what the small one writes</b>, and what each cost.</p>
      <div class="examples">${EXAMPLES.map(([label, task, question]) => html`
        <button type="button" onClick=${() => choose({ task, question })}>${label}</button>`)}</div>
    </section>`;
}
