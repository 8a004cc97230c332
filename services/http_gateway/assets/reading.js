// What the server says, and says again while the page is looked at: a connection that is lost is taken up.
import { isLost } from "./api.js";
import { useEffect, useState } from "./html.js";

const AGAIN_MS = 5000;

/** The last answer of `read()`, or the error that took its place; nothing old is shown under what is refused. `given`: what the answer
 * depends on. `isMoving`: whether an answer may change, and is read again.
 */
export function useReading(read, given, isMoving = () => true) {
  const [state, setState] = useState({ found: null, error: null });
  useEffect(() => {
    let isCurrent = true;
    let later = null;
    const look = async () => {
      let isAgain = true;
      try {
        if (!document.hidden) {
          const found = await read();
          if (isCurrent) setState({ found, error: null });
          isAgain = isMoving(found);
        }
      } catch (error) {
        if (isCurrent) setState({ found: null, error });
        isAgain = isLost(error);
      }
      if (isCurrent && isAgain) later = setTimeout(look, AGAIN_MS);
    };
    look();
    return () => {
      isCurrent = false;
      clearTimeout(later);
    };
  }, [JSON.stringify(given)]);
  return state;
}

/** Of what does not change by itself. */
export const never = () => false;
