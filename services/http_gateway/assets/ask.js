// Ask: a question, and the two models at work on it. In a chat each question is sent with those before it.
import { ask, cancel, follow, said } from "./api.js";
import { Bill, Running } from "./bill.js";
import { Checks } from "./checks.js";
import { GiveResults } from "./calls.js";
import { around, complete, Earlier, keep, messages, Said, turnOf } from "./conversation.js";
import { Drawer, EMPTY, sent } from "./drawer.js";
import { html, useEffect, useRef, useState } from "./html.js";
import { isWhole, next, parts, start, textOf } from "./live.js";
import { Answer, Insight } from "./panes.js";
import { Stages } from "./stages.js";
import { reason, score } from "./format.js";

const TASKS = {
  chat: ["Chat", "Remembers what was said before.", "What would you like to know?"],
  answer: ["Answer", "One question with one final answer; nothing before it is read.", "A question with one answer"],
  code: ["Code", "Completes a function; examples in its docstring are run.", "The head of a Python function"],
};
const FORM = "tandem-asked";

/** All but what is said now is kept for this tab. */
const recall = () => ({ question: "", results: {}, task: "chat", profile: "", ...EMPTY, ...JSON.parse(sessionStorage.getItem(FORM) ?? "{}") });
const remember = ({ question, results, ...kept }) => sessionStorage.setItem(FORM, JSON.stringify(kept));

export function Ask({ id, served }) {
  const [asked, setAsked] = useState(recall);
  const [state, setState] = useState(null);
  const [error, setError] = useState(null);
  const [lost, setLost] = useState(null);
  const [earlier, turn] = around(id);

  useEffect(() => {
    setError(null);
    setLost(null);
    setState(id ? start(id) : null);
    if (!id) return undefined;
    const leaving = new AbortController();
    let seen = start(id);
    const show = (event) => {
      seen = next(seen, event);
      setState(seen);
      if (seen.result) complete(id, answerOf(seen));
    };
    follow(id, show, () => isWhole(seen), leaving.signal, setLost).catch(setError);
    return () => leaving.abort();
  }, [id]);

  const profileName = state?.accepted?.profile || asked.profile || served.default_profile;
  const profile = served.profiles.find(({ name }) => name === profileName);
  const isRunning = state?.phase === "running" && !error;

  const send = async (form, said, before) => {
    setError(null);
    const { task, profile: wanted } = form;
    try {
      const { system, ...more } = sent(form, task);
      const isOne = said.question && !before.length && !system && !more.tools;
      const text = isOne ? { question: said.question } : { messages: messages(before, said, system) };
      const { request_id } = await ask({ ...text, ...more, task, profile: wanted });
      remember(form);
      keep([...before, { id: request_id, task, ...said }]);
      setAsked({ ...form, question: "", results: {} });
      location.hash = `#/ask/${request_id}`;
    } catch (refused) {
      setError(refused);
    }
  };
  const isTalk = asked.task === "chat" && turn?.task === "chat";
  const calls = (isTalk && state?.result?.tool_calls) || [];
  const isAnswered = state?.result && (state.result.answer || state.result.tool_calls.length > 0);
  const submit = (event) => {
    event.preventDefault();
    const before = [...earlier, ...(isAnswered ? [{ ...turn, ...answerOf(state) }] : [])];
    if (calls.length) send(asked, { results: calls.map((call) => ({ ...call, text: asked.results[call.id] ?? "" })) }, before);
    else send(asked, { question: asked.question }, isTalk ? before : []);
  };
  const again = () => send({ ...asked, task: turn.task }, turn.results ? { results: turn.results } : { question: turn.question }, earlier);
  const change = () => {
    edit({ task: turn.task, question: turn.question ?? "", results: Object.fromEntries((turn.results ?? []).map((result) => [result.id, result.text])) });
    location.hash = `#/ask/${earlier.at(-1)?.id ?? ""}`;
  };
  const edit = (fields) => setAsked((before) => ({ ...before, ...(typeof fields === "function" ? fields(before) : fields) }));
  return html`
    <h1 class="unseen">Ask</h1>
    ${!id && html`<${First} choose=${edit} />`}
    <${Earlier} turns=${earlier} />
    ${(turn || state?.result) && html`<${Said} turn=${turn ?? turnOf(state.result)} />`}
    ${state && !(error && !state.accepted) && html`
      <${Board} ...${{ state, profile, task: turn?.task, jaeger: served.jaeger }}>
        ${state.result && turn && html`<p class="after">
          <button type="button" class="quiet" onClick=${again}>Ask again</button>
          <button type="button" class="quiet" onClick=${change}>Change the ${turn.results ? "results" : "question"}</button>
          <a href="#/ask">Begin anew</a></p>`}
      <//>`}
    ${lost && !error && html`<p class="problem" role="alert">${said(lost)}</p>`}
    ${error && html`<p class="problem" role="alert">${error.message}</p>`}
    ${calls.length
      ? html`<${GiveResults} ...${{ calls, edit, submit }} given=${asked.results} />`
      : html`<${Form} ...${{ asked, edit, submit, isRunning, served, isTalk }} onStop=${() => cancel(id).catch(setError)} />`}`;
}

/** What a turn keeps of its request. */
const answerOf = (state) => ({ answer: textOf(state.result), parts: parts(state), calls: state.result.tool_calls });

function Form({ asked, edit, submit, isRunning, isTalk, onStop, served }) {
  const field = useRef(null);
  const [label, told, hint] = TASKS[asked.task];
  const keys = (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!isRunning && asked.question.trim()) event.target.form.requestSubmit();
  };
  useEffect(() => {
    if (asked.question) field.current.focus();
  }, [asked.task, !asked.question]);
  return html`
    <form class="ask" onSubmit=${submit}>
      <label class="unseen" for="question">Question</label>
      <textarea
        id="question" required ref=${field} rows=${asked.question.includes("\n") || asked.question.length > 90 ? 5 : 1} spellcheck=${asked.task !== "code"}
        class=${asked.task === "code" ? "code" : ""} placeholder=${isTalk ? "Go on" : hint}
        value=${asked.question} onInput=${(event) => edit({ question: event.target.value })} onKeyDown=${keys}
      ></textarea>
      <div class="controls">
        <fieldset class="segments">
          <legend class="unseen">Task</legend>
          ${Object.entries(TASKS).map(([value, [name]]) => html`
            <label>
              <input type="radio" name="task" value=${value} checked=${asked.task === value}
                onChange=${() => edit({ task: value })} /><span>${name}</span>
            </label>`)}
        </fieldset>
        <label class="field">
          <span>Profile</span>
          <select value=${asked.profile} onChange=${(event) => edit({ profile: event.target.value })}>
            ${served.profiles.map(({ name }) => html`
              <option value=${name === served.default_profile ? "" : name}>${name}</option>`)}
          </select>
        </label>
        <span class="note hint">${told} <kbd>Enter</kbd> asks, <kbd>Shift</kbd>+<kbd>Enter</kbd> breaks the line.</span>
        ${isRunning
          ? html`<button type="button" class="stop" onClick=${onStop}>Stop</button>`
          : html`<button type="submit" class="go">Ask</button>`}
      </div>
      <${Drawer} asked=${asked} edit=${edit} />
    </form>`;
}

function Board({ state, profile, task, jaeger, children }) {
  const isCode = task === "code";
  const isRunning = state.phase === "running";
  return html`
    <p class="unseen" role="status">${spoken(state)}</p>
    <div class="board">
      <${Answer} state=${state} profile=${profile} isCode=${isCode}>${children}<//>
      <aside aria-label="How it was answered">
        <${Running} state=${state} profile=${profile} task=${task} />
        <${Checks} checks=${state.checks} trials=${state.result?.trials ?? []} isRunning=${isRunning} />
        <${Stages} state=${state} profile=${profile} />
        <${Insight} state=${state} profile=${profile} isCode=${isCode} />
      </aside>
      ${state.result && html`<${Bill} result=${state.result} jaeger=${jaeger} />`}
    </div>`;
}

/** What a screen reader says; short, and only when something is decided. */
function spoken({ phase, stages, stop, result, error }) {
  if (phase === "failed") return `The request failed: ${error}`;
  if (result) return `Done. ${reason(result.stop.reason)}. The answer is ${result.answer.slice(0, 200)}`;
  if (stop) return `${reason(stop.reason)}.`;
  const scored = stages.findLast((stage) => stage.score !== null);
  if (!scored) return "The models are at work.";
  return `Stage ${scored.stage} scored ${score(scored.score)}; the threshold is ${score(scored.threshold)}.`;
}

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

/** What a first visit shows: what this is, and four things to try. */
function First({ choose }) {
  return html`
    <section class="first" aria-label="What this is">
      <p>A small and a large language model answer together: the small one where its answer can be checked or a score trusts it, the large
        one where not. You see <b class="llm">what the large model writes</b>, <b class="slm">what the small one writes</b>, and what each cost.</p>
      <div class="examples">${EXAMPLES.map(([label, fields]) => html`
        <button type="button" onClick=${() => choose({ ...EMPTY, ...fields })}>${label}</button>`)}</div>
    </section>`;
}
