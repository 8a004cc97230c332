// Ask: a question, and the two models at work on it. In a chat each question is sent with those before it.
import { ask, cancel, follow, said } from "./api.js";
import { Bill, Running } from "./bill.js";
import { Checks } from "./checks.js";
import { around, complete, Earlier, First, keep, messages } from "./conversation.js";
import { Drawer, EMPTY, sent } from "./drawer.js";
import { html, useEffect, useRef, useState } from "./html.js";
import { isWhole, next, parts, start } from "./live.js";
import { Answer, Insight } from "./panes.js";
import { Stages } from "./stages.js";
import { reason, score } from "./format.js";

const TASKS = {
  chat: ["Chat", "Remembers what was said before.", "What would you like to know?"],
  answer: ["Answer", "One question with one final answer; nothing before it is read.", "A question with one answer"],
  code: ["Code", "Completes a function; examples in its docstring are run.", "The head of a Python function"],
};
const FORM = "tandem-asked";

/** All but the question is kept for this tab. */
const recall = () => ({ question: "", task: "chat", profile: "", ...EMPTY, ...JSON.parse(sessionStorage.getItem(FORM) ?? "{}") });
const remember = ({ question, ...kept }) => sessionStorage.setItem(FORM, JSON.stringify(kept));

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
      if (seen.result) complete(id, { answer: seen.result.answer, parts: parts(seen) });
    };
    follow(id, show, () => isWhole(seen), leaving.signal, setLost).catch(setError);
    return () => leaving.abort();
  }, [id]);

  const profileName = state?.accepted?.profile || asked.profile || served.default_profile;
  const profile = served.profiles.find(({ name }) => name === profileName);
  const isRunning = state?.phase === "running" && !error;
  const question = turn?.question ?? state?.result?.question;

  const send = async (given, before) => {
    setError(null);
    const { task, profile: wanted } = given;
    const { system, ...more } = sent(given, task);
    const isOne = !before.length && !system;
    const text = isOne ? { question: given.question } : { messages: messages(before, given.question, system) };
    try {
      const { request_id } = await ask({ ...text, ...more, task, profile: wanted });
      remember(given);
      keep([...before, { id: request_id, question: given.question, task }]);
      setAsked({ ...given, question: "" });
      location.hash = `#/ask/${request_id}`;
    } catch (refused) {
      setError(refused);
    }
  };
  const isTalk = asked.task === "chat" && turn?.task === "chat";
  const submit = (event) => {
    event.preventDefault();
    const answered = state?.result?.answer ? [{ ...turn, answer: state.result.answer, parts: parts(state) }] : [];
    send(asked, isTalk ? [...earlier, ...answered] : []);
  };
  const edit = (fields) => setAsked((before) => ({ ...before, ...(typeof fields === "function" ? fields(before) : fields) }));
  return html`
    <h1 class="unseen">Ask</h1>
    ${!id && html`<${First} choose=${edit} />`}
    <${Earlier} turns=${earlier} />
    ${question && html`<p class=${`said${turn?.task === "code" ? " code" : ""}`}>${question}</p>`}
    ${state && !(error && !state.accepted) && html`
      <${Board} ...${{ state, profile, task: turn?.task, jaeger: served.jaeger }}>
        ${state.result && turn && html`<p class="after">
          <button type="button" class="quiet" onClick=${() => send({ ...asked, task: turn.task, question: turn.question }, earlier)}>Ask again</button>
          <button type="button" class="quiet" onClick=${() => { edit({ task: turn.task, question: turn.question }); location.hash = `#/ask/${earlier.at(-1)?.id ?? ""}`; }}>Change the question</button>
          <a href="#/ask">Begin anew</a></p>`}
      <//>`}
    ${lost && !error && html`<p class="problem" role="alert">${said(lost)}</p>`}
    ${error && html`<p class="problem" role="alert">${error.message}</p>`}
    <${Form} ...${{ asked, edit, submit, isRunning, served, isTalk }} onStop=${() => cancel(id).catch(setError)} />`;
}

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
