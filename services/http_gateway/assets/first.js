// A first visit: what this is, and four things to try.
import { EMPTY } from "./drawer.js";
import { html } from "./html.js";

const WEATHER = JSON.stringify([{
  type: "function",
  function: {
    name: "weather",
    description: "The weather of a day in a city.",
    parameters: {
      type: "object",
      properties: { city: { type: "string" }, day: { type: "string", enum: ["today", "tomorrow"] } },
      required: ["city", "day"],
    },
  },
}], null, 2);

const EXAMPLES = [
  ["A function with examples", { task: "code", question: 'def running_total(numbers: list[int]) -> list[int]:\n    """Sum of each prefix.\n\n    >>> running_total([1, 2, 3])\n    [1, 3, 6]\n    >>> running_total([])\n    []\n    """' }],
  ["A question with one answer", { task: "answer", question: "A train goes 210 km in 3 hours. How far does it go in 5 hours at the same speed?" }],
  ["A tool call", { task: "chat", question: "Do I need an umbrella in Paris tomorrow?", tools: WEATHER }],
  ["A chat", { task: "chat", question: "My name is Ada. Explain in two sentences what a hash table is, and use my name." }],
];

export function First({ choose }) {
  return html`
    <section class="first" aria-label="What this is">
      <p>A small and a large language model answer together: the small one where its answer can be checked or a score trusts it, the large
        one where not. You see <b class="llm">what the large model writes</b>, <b class="slm">what the small one writes</b>, and what each cost.</p>
      <div class="examples">${EXAMPLES.map(([label, fields]) => html`
        <button type="button" onClick=${() => choose({ ...EMPTY, ...fields })}>${label}</button>`)}</div>
    </section>`;
}
