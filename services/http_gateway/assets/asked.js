// A question to the server that follows what is moved: asked after a pause, and the older one given up.
import { useEffect, useState } from "./html.js";

const PAUSE_MS = 120;

/** The last answer of `ask(given, signal)`, and the error that took its place. `given` is flat; null asks nothing. */
export function useAsked(ask, given) {
  const [state, setState] = useState({ found: null, error: null });
  useEffect(() => {
    if (given === null) return undefined;
    const leaving = new AbortController();
    const later = setTimeout(async () => {
      try {
        setState({ found: await ask(given, leaving.signal), error: null });
      } catch (error) {
        if (!leaving.signal.aborted) setState({ found: null, error });
      }
    }, PAUSE_MS);
    return () => {
      clearTimeout(later);
      leaving.abort();
    };
  }, [JSON.stringify(given)]);
  return state;
}
