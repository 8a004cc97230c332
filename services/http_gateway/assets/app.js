// The frame: which view is shown, and the API key. The address after `#` is the whole state, so that a reload shows the same.
import { Ask } from "./ask.js";
import { fetched, getProfiles, getViews, key, reached, said, setKey } from "./api.js";
import { html, render, useEffect, useRef, useState } from "./html.js";
import { never, useReading } from "./reading.js";

const VIEWS = {
  ask: ["Ask", Ask],
  requests: ["Requests", later("requests.js", "Requests")],
  batches: ["Batches", later("batches.js", "Batches")],
  sessions: ["Sessions", later("sessions.js", "Sessions")],
  savings: ["Savings", later("savings.js", "Savings")],
  outcomes: ["Outcomes", later("outcomes.js", "Outcomes")],
  tenants: ["Tenants", later("tenants.js", "Tenants")],
  keys: ["Keys", later("keys.js", "Keys")],
};
/** Of one thing of a view, whose id is in the address. */
const OPENED = {
  requests: later("request.js", "Request"), sessions: later("sessions.js", "Session"), outcomes: later("disputes.js", "Disputes"),
};

const NOTHING_SERVED = { profiles: [], default_profile: "", jaeger: "" };

/** Not everybody may see these; an address that leads to one still says why. */
const OF_SOME = ["batches", "keys"];

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
  return { view: view in VIEWS ? view : "ask", id: id ?? "", query: new URLSearchParams(query) };
}

function App() {
  const [at, setAt] = useState(place());
  const [keyed, setKeyed] = useState(key());
  const { found: served, error } = useReading(getProfiles, keyed, never);
  const { found: views } = useReading(getViews, keyed, never);
  const hidden = views ? Object.keys(views.refused) : OF_SOME;
  const main = useRef(null);

  useEffect(() => {
    const move = () => {
      setAt(place());
      main.current?.focus({ preventScroll: true });
    };
    addEventListener("hashchange", move);
    return () => removeEventListener("hashchange", move);
  }, []);

  const [name, View] = VIEWS[at.view];
  const Shown = (at.id && OPENED[at.view]) || View;
  useEffect(() => {
    document.title = `${name} – Tandem`;
  }, [name]);
  const changeKey = (value) => {
    setKey(value);
    setKeyed(value);
  };
  const skip = (event) => {
    event.preventDefault();
    (main.current.querySelector(".requests a[tabindex='0']") ?? main.current).focus(); // a list's rows come after many fields
  };
  return html`
    <a class="skip" href="#main" onClick=${skip}>To the content</a>
    <header class="top">
      <a class="mark" href="#/ask">Tandem</a>
      <nav aria-label="Views">
        ${Object.entries(VIEWS).filter(([view]) => !hidden.includes(view)).map(([view, [label]]) => html`
          <a href=${`#/${view}`} aria-current=${view === at.view ? "page" : undefined}>${label}</a>`)}
      </nav>
      <${Key} keyed=${keyed} isAsked=${error?.status === 401} onChange=${changeKey} />
    </header>
    <main id="main" tabindex="-1" ref=${main}>
      ${error && html`<p class="problem" role="alert">${said(error)}</p>`}
      <${Shown} key=${`${at.view} ${keyed}`} ...${at} served=${served ?? NOTHING_SERVED} />
    </main>`;
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
