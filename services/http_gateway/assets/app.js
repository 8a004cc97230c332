// The frame: which view is shown, and the API key. The address after `#` is the whole state, so that a reload shows the same.
import { Ask } from "./ask.js";
import { fetched, getProfiles, key, reached, said, setKey } from "./api.js";
import { html, render, useEffect, useRef, useState } from "./html.js";
import { never, useReading } from "./reading.js";

/** The name of each view, what it shows, and what it shows of one thing whose id is in the address. */
const VIEWS = {
  ask: ["Ask", Ask],
  requests: ["Requests", later("requests.js", "Requests"), later("request.js", "Request")],
  savings: ["Savings", later("savings.js", "Savings")],
};

const NOTHING_SERVED = { profiles: [], default_profile: "", jaeger: "" };

/** A view whose module is read when it is first looked at, so that the first one has less to load. */
function later(file, name) {
  let View = null;
  const read = async () => {
    if (View) return;
    await fetched(`/assets/${file}`); // Firefox never tries again an import that has failed
    View = (await reached(import(`./${file}`)))[name];
  };
  return (props) => {
    const { error } = useReading(read, [], never);
    if (error) return html`<p class="problem" role="alert">${said(error)}</p>`;
    return View && html`<${View} ...${props} />`;
  };
}

function place() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, id] = path.split("/").map(decodeURIComponent);
  return { view: view || "ask", id: id ?? "", query: new URLSearchParams(query) };
}

function App() {
  const [at, setAt] = useState(place());
  const [keyed, setKeyed] = useState(key());
  const { found: served, error } = useReading(getProfiles, keyed, never);
  const main = useRef(null);

  useEffect(() => {
    const move = () => {
      setAt(place());
      main.current?.focus({ preventScroll: true });
    };
    addEventListener("hashchange", move);
    return () => removeEventListener("hashchange", move);
  }, []);

  const [name, View, Opened = View] = Object.hasOwn(VIEWS, at.view) ? VIEWS[at.view] : ["No such view", Nothing];
  const Shown = at.id ? Opened : View;
  useEffect(() => {
    document.title = `${name} – Tandem`;
  }, [name]);
  const changeKey = (value) => {
    setKey(value);
    setKeyed(value);
  };
  const skip = (event) => {
    event.preventDefault();
    (main.current.querySelector(".requests .asked a[tabindex='0']") ?? main.current).focus(); // a list's rows come after many fields
  };
  return html`
    <a class="skip" href="#main" onClick=${skip}>To the content</a>
    <header class="top">
      <a class="mark" href="#/ask" tabindex="-1">Tandem</a>
      <nav aria-label="Views">
        ${Object.entries(VIEWS).map(([view, [label]]) => html`
          <a href=${`#/${view}`} aria-current=${view === at.view ? "page" : undefined}>${label}</a>`)}
      </nav>
      <${Key} keyed=${keyed} isAsked=${error?.status === 401} onChange=${changeKey} />
    </header>
    <main id="main" tabindex="-1" ref=${main}>
      ${error && html`<p class="problem" role="alert">${said(error)}</p>`}
      <${Shown} key=${`${at.view} ${keyed}`} ...${at} served=${served ?? NOTHING_SERVED} />
    </main>`;
}

/** What an address shows that leads to no view. */
function Nothing({ view }) {
  return html`
    <h1>No such view</h1>
    <p>The page has no view <code>${view}</code>. Sessions are a filter of <a href="#/requests">Requests</a>, outcomes and disputes are at the
      end of <a href="#/savings">Savings</a>, and the terminal has <code>tandem batch list</code>, <code>tandem tenants list</code> and <code>tandem keys list</code>.</p>`;
}

function Key({ keyed, isAsked, onChange }) {
  const [isOpen, setOpen] = useState(false);
  const field = useRef(null);
  useEffect(() => {
    if (isAsked) setOpen(true);
  }, [isAsked]);
  useEffect(() => {
    if (isOpen) field.current?.focus();
  }, [isOpen]);
  const submit = (event) => {
    event.preventDefault();
    onChange(field.current.value.trim());
    setOpen(false);
  };
  return html`
    <div class="key">
      <button type="button" class="quiet" aria-expanded=${isOpen} onClick=${() => setOpen(!isOpen)}>
        API key${keyed ? " set" : ""}
      </button>
      ${isOpen && html`
        <form onSubmit=${submit} onKeyDown=${(event) => event.key === "Escape" && setOpen(false)}>
          <label for="api-key">API key or token</label>
          <input id="api-key" type="password" autocomplete="off" ref=${field} defaultValue=${keyed} />
          <p class="note">Kept in this tab until it is closed, and sent to this server only. Empty: none is sent.</p>
          <button type="submit">Use it</button>
        </form>`}
    </div>`;
}

render(html`<${App} />`, document.getElementById("app"));
