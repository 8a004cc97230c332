// Ask: a question, and the two models at work on it.
import { ask, cancel, follow } from "./api.js";
import { Bill, Running } from "./bill.js";
import { Checks } from "./checks.js";
import { html, useEffect, useState } from "./html.js";
import { isWhole, next, start } from "./live.js";
import { Answer, Insight } from "./panes.js";
import { Stages } from "./stages.js";
import { reason, score } from "./format.js";

const TASKS = [["answer", "Answer"], ["code", "Code"], ["chat", "Chat"]];
const FORM = "tandem-asked";
const BLANK = { question: "", task: "answer", profile: "" };

/** What was asked is kept for this tab: a running request does not tell its question. */
const recall = () => JSON.parse(sessionStorage.getItem(FORM) ?? "{}");
const remember = (asked) => sessionStorage.setItem(FORM, JSON.stringify(asked));

export function Ask({ id, served }) {
  const [asked, setAsked] = useState(() => ({ ...BLANK, ...recall() }));
  const [state, setState] = useState(null);
  const [error, setError] = useState(null);
  const [lost, setLost] = useState(null);

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
    };
    follow(id, show, () => isWhole(seen), leaving.signal, setLost).catch(setError);
    return () => leaving.abort();
  }, [id]);

  const profileName = state?.accepted?.profile || asked.profile || served.default_profile;
  const profile = served.profiles.find(({ name }) => name === profileName);
  const isRunning = state?.phase === "running" && !error;

  const submit = async (event) => {
    event.preventDefault();
    setError(null);
    try {
      const { request_id } = await ask(asked);
      remember(asked);
      location.hash = `#/ask/${request_id}`;
    } catch (refused) {
      setError(refused);
    }
  };
  const edit = (fields) => setAsked({ ...asked, ...fields });
  return html`
    <h1 class="unseen">Ask</h1>
    <${Form} ...${{ asked, edit, submit, isRunning, served }} onStop=${() => cancel(id).catch(setError)} />
    ${(error ?? lost) && html`<p class="problem" role="alert">${(error ?? lost).message}</p>`}
    ${state && !(error && !state.accepted) && html`<${Board} ...${{ state, profile, asked, jaeger: served.jaeger }} />`}`;
}

function Form({ asked, edit, submit, isRunning, onStop, served }) {
  const isLong = asked.question.includes("\n") || asked.question.length > 90;
  const keys = (event) => {
    if (event.key === "Enter" && (event.metaKey || event.ctrlKey)) event.target.form.requestSubmit();
  };
  return html`
    <form class="ask" onSubmit=${submit}>
      <label class="unseen" for="question">Question</label>
      <textarea
        id="question" required rows=${isLong ? 5 : 2} spellcheck="true"
        class=${asked.task === "code" ? "code" : ""}
        placeholder=${asked.task === "code" ? "The head of a Python function" : "What would you like to know?"}
        value=${asked.question} onInput=${(event) => edit({ question: event.target.value })} onKeyDown=${keys}
      ></textarea>
      <div class="controls">
        <fieldset class="segments">
          <legend class="unseen">Task</legend>
          ${TASKS.map(([value, label]) => html`
            <label>
              <input type="radio" name="task" value=${value} checked=${asked.task === value}
                onChange=${() => edit({ task: value })} /><span>${label}</span>
            </label>`)}
        </fieldset>
        <label class="field">
          <span>Profile</span>
          <select value=${asked.profile} onChange=${(event) => edit({ profile: event.target.value })}>
            ${served.profiles.map(({ name }) => html`
              <option value=${name === served.default_profile ? "" : name}>${name}</option>`)}
          </select>
        </label>
        <span class="spring"></span>
        ${isRunning
          ? html`<button type="button" class="stop" onClick=${onStop}>Stop</button>`
          : html`<button type="submit" class="go">Ask</button>`}
      </div>
    </form>`;
}

function Board({ state, profile, asked, jaeger }) {
  const task = asked.task;
  return html`
    <p class="unseen" role="status">${spoken(state)}</p>
    <div class="board">
      <${Stages} state=${state} profile=${profile} />
      <${Insight} state=${state} profile=${profile} isCode=${task === "code"} />
      <${Answer} state=${state} profile=${profile} isCode=${task === "code"} />
      <aside aria-label="Bill and checks">
        <${Running} state=${state} profile=${profile} task=${task} />
        <${Checks} checks=${state.checks} trials=${state.result?.trials ?? []} isRunning=${state.phase === "running"} />
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
