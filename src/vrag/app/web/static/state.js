// What all views share: the corpora, the chosen one, and how far its indexing is.

import { corpusPath, get } from "./api.js";
import { $, alertUser, options } from "./dom.js";

export const state = { corpora: [], corpus: "", policies: [], readOnly: false, creates: false, reads: [], info: null };

const SOON = 700; // ms between two looks while something is indexed
const STAGES = { unpack: "Unpacking pages", hash: "Checking files", read: "Reading pages", convert: "Converting documents", ocr: "Recognising text", text: "Indexing text", encode: "Encoding pages" };
const listeners = new Set();
let next = 0;

/** `listener` is called whenever the chosen corpus, or what is known of it, has changed. */
export const onChange = (listener) => listeners.add(listener);
const tell = () => listeners.forEach((listener) => listener());

export async function startState() {
  const health = await get("/health");
  state.policies = health.policies;
  state.readOnly = health.read_only;
  state.creates = health.creates;
  state.reads = health.reads;
  options($("policy"), state.policies);
  $("policy").closest("label").hidden = state.policies.length < 2;
  $("corpus").addEventListener("change", () => choose($("corpus").value));
  await loadCorpora();
}

export async function loadCorpora(chosen = state.corpus) {
  state.corpora = (await get("/v1/corpora")).corpora;
  options($("corpus"), state.corpora, chosen);
  $("corpus-choice").hidden = !state.corpora.length;
  await choose($("corpus").value);
}

/** Returns whether it could be chosen; what was chosen before stays if not. */
export async function choose(corpus) {
  if (corpus && !state.corpora.includes(corpus)) {
    alertUser(`There is no corpus “${corpus}” here.`);
    return false;
  }
  state.corpus = $("corpus").value = corpus;
  state.info = null;
  if (corpus) await look();
  else tell();
  return true;
}

/** Look at the chosen corpus now, and again as long as something is indexed. */
export async function look() {
  clearTimeout(next);
  const corpus = state.corpus;
  try {
    const info = await get(`${corpusPath(corpus)}?limit=0`);
    if (corpus !== state.corpus) return;
    state.info = info;
  } catch (error) {
    alertUser(error.message);
    return;
  }
  bar();
  tell();
  if (busy()) next = setTimeout(look, SOON);
}

export const busy = () => ["waiting", "running"].includes(state.info?.indexing.state);

/** What is being done to the documents, in words; null when nothing is. */
export function underWay() {
  if (!busy()) return null;
  const { state: now, stage, done, total, reason } = state.info.indexing;
  if (now === "waiting") return reason ?? "Waiting to be indexed …";
  return `${STAGES[stage] ?? "Indexing"}${total ? `: ${Math.min(done, total)} of ${total}` : " …"}`;
}

function bar() {
  const { state: now, done, total, current, reason } = state.info.indexing;
  $("indexing").hidden = !busy() && now !== "failed";
  $("indexing-bar").hidden = now === "failed";
  if (total) $("indexing-bar").value = done / total;
  else $("indexing-bar").removeAttribute("value");
  $("indexing-text").textContent = now === "failed" ? reason : `${underWay() ?? ""}${current ? ` (${current})` : ""}`;
}
