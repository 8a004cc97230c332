// What the server says, and says again while the page is looked at: a connection that is lost is taken up.
import { isLost } from "./api.js";
import { useEffect, useState } from "./html.js";

const AGAIN_MS = 5000;
const always = () => true;

/** Of what does not change by itself. */
export const never = () => false;

/** The last answer of `read()`, or the error that took its place; nothing old is shown under what is refused. `given`: what the
 * answer depends on; null reads nothing, and another one drops what is being read. `isMoving`: whether an answer may change, and is
 * read again.
 */
export function useReading(read, given, isMoving = always) {
  const [state, setState] = useState({ found: null, error: null });
  useEffect(() => {
    if (given === null) return undefined;
    let hasLeft = false;
    let isFirst = true;
    const look = async () => {
      let isAgain = true;
      try {
        if (isFirst || !document.hidden) {
          const found = await read();
          if (hasLeft) return;
          setState({ found, error: null });
          isFirst = false;
          isAgain = isMoving(found);
        }
      } catch (error) {
        if (hasLeft) return;
        setState({ found: null, error });
        isAgain = isLost(error);
      }
      if (isAgain) later = setTimeout(look, AGAIN_MS);
    };
    let later = setTimeout(look, 0);
    return () => {
      hasLeft = true;
      clearTimeout(later);
    };
  }, [JSON.stringify(given)]);
  return state;
}
