// What one does with an answer: say whether it was right, and ask the same from a program.
import { key, report } from "./api.js";
import { isOfTools } from "./calls.js";
import { CopyButton } from "./clipboard.js";
import { html, useState } from "./html.js";

/** `result` has an answer. What tools were offered it does not say, so that a request with tools is not asked again from it. The word is given once: the same one again changes nothing, another is refused. */
export function Use({ result }) {
  return html`
    <div class="use">
      <${Outcome} id=${result.request_id} />
      ${!isOfTools(result) && html`
        <p><span class="note">Ask it again, as a chat, by</span> <${CopyButton} text=${asCurl(result)} label="curl" /> <${CopyButton} text=${asPython(result)} label="Python" /></p>`}
    </div>`;
}

function Outcome({ id }) {
  const [said, setSaid] = useState("");
  const [error, setError] = useState(null);
  const say = (isRight) => report(id, isRight).then(() => setSaid(isRight ? "right" : "wrong"), setError);
  if (said) return html`<p role="status">Noted: ${said}.</p>`;
  return html`
    <p><span class="note">Was the answer right?</span>
      <button type="button" class="quiet" onClick=${() => say(true)}>Right</button>
      <button type="button" class="quiet" onClick=${() => say(false)}>Wrong</button>
      ${error && html`<span class="problem" role="alert">${error.message}</span>`}</p>`;
}

const messages = (result) => [{ role: "user", content: result.question }];

/** For a shell of POSIX: within single quotes only the quote itself is special. */
export const asCurl = (result) => [
  `curl -sS ${location.origin}/v1/chat/completions`,
  ...(key() ? ['-H "authorization: Bearer $TANDEM_API_KEY"'] : []),
  "-H 'content-type: application/json'",
  `-d '${JSON.stringify({ model: result.profile, messages: messages(result) }).replaceAll("'", "'\\''")}'`,
].join(" \\\n  ");

/** A text of JSON is a literal of Python as well. */
export const asPython = (result) => `${key() ? "import os\n\n" : ""}from openai import OpenAI

client = OpenAI(base_url=${JSON.stringify(`${location.origin}/v1`)}, api_key=${key() ? 'os.environ["TANDEM_API_KEY"]' : '"none"'})
reply = client.chat.completions.create(
    model=${JSON.stringify(result.profile)},
    messages=[{"role": "user", "content": ${JSON.stringify(result.question)}}],
)
print(reply.choices[0].message.content)
`;
