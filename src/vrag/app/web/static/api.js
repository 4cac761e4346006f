// The server's HTTP API. With a token each request bears it, images too.

import { $ } from "./dom.js";

const KEY = "vrag-token"; // of this tab alone, until it is closed
let asking = null;

export const token = () => sessionStorage.getItem(KEY);

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The answer, or an `ApiError` that says what the server says. */
export async function call(path, init = {}, passes = [200, 201, 202]) {
  const headers = { ...init.headers, ...(token() ? { Authorization: `Bearer ${token()}` } : {}) };
  let answer;
  try {
    answer = await fetch(path, { ...init, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server can’t be reached: it has ended, or the network has.");
  }
  if (answer.status === 401) {
    await askForToken();
    return call(path, init, passes);
  }
  if (!passes.includes(answer.status)) throw new ApiError(answer.status, await reason(answer));
  return answer;
}

export const get = async (path, init) => (await call(path, init)).json();

export const post = async (path, body, init = {}) =>
  (await call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), ...init })).json();

/** The events of a question, as they come. Aborting `signal` ends the episode. */
export async function* ask(corpus, body, signal) {
  const answer = await call(`${corpusPath(corpus)}/ask`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (held + value).split("\n\n");
    held = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
      if (data.length) yield JSON.parse(data.join("\n"));
    }
  }
}

export const corpusPath = (corpus) => `/v1/corpora/${encodeURIComponent(corpus)}`;

async function reason(answer) {
  try {
    const { detail } = await answer.json();
    return Array.isArray(detail) ? detail.map((one) => `${one.loc.at(-1)}: ${one.msg}`).join("; ") : String(detail);
  } catch {
    return `The server answered with ${answer.status}.`;
  }
}

function askForToken() {
  sessionStorage.removeItem(KEY);
  asking ??= new Promise((done) => {
    const dialog = $("token-dialog");
    dialog.addEventListener(
      "close",
      () => {
        sessionStorage.setItem(KEY, $("token").value.trim());
        $("token").value = "";
        asking = null;
        done();
      },
      { once: true },
    );
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.showModal();
  });
  return asking;
}
