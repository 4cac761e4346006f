// The view that asks: one question at a time, watched, stopped, kept.

import { ApiError, ask } from "./api.js";
import { $, alertUser, el, foreign, heading } from "./dom.js";
import { entries, keep, startHistory } from "./history.js";
import { picture } from "./pictures.js";
import { choose, look, state, underWay } from "./state.js";
import { citation, ending, outcome, Steps } from "./steps.js";
import { openPage } from "./viewer.js";

let running = null; // what aborts it
let shownEntry = null;

export function startAsk() {
  $("ask-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const question = $("question").value.trim();
    if (question && !running) begin(question);
  });
  $("question").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    $("ask-form").requestSubmit();
  });
  $("question").addEventListener("input", grow);
  $("stop-button").addEventListener("click", () => running?.abort());
  startHistory();
}

/** `q` asks at once; `entry` shows what was asked before. */
export function showAsk({ q, entry }) {
  if (q && !running) {
    begin(q);
    return;
  }
  if (entry && entry !== shownEntry && !running) {
    const found = entries().find((one) => one.id === entry);
    if (found) replay(found);
  }
  if (!entry && !running && !matchMedia("(pointer: coarse)").matches) $("question").focus();
}

async function begin(question) {
  const entry = { id: crypto.randomUUID?.() ?? String(Math.random()).slice(2), at: Date.now(), corpus: state.corpus, policy: $("policy").value, question, indexing: underWay(), events: [] };
  if (!entry.corpus) {
    alertUser("There is no corpus yet: add documents first.");
    return;
  }
  running = new AbortController();
  busy(true);
  const card = new Card(entry);
  location.replace(`#/ask?entry=${entry.id}`);
  shownEntry = entry.id;
  write("");
  try {
    for await (const event of ask(entry.corpus, { question, policy: entry.policy || null }, running.signal)) {
      entry.events.push(event);
      card.add(event);
      $("ask-status").textContent = card.spoken(event) ?? $("ask-status").textContent;
    }
    if (entry.events.at(-1)?.type !== "stop") throw new ApiError(0, "The server ended before the answer came.");
  } catch (error) {
    const last = error.name === "AbortError" ? [{ type: "stop", reason: "cancelled" }] : [{ type: "error", message: error.message }, { type: "stop", reason: "error" }];
    for (const event of last) {
      entry.events.push(event);
      card.add(event);
    }
    $("ask-status").textContent = Steps.spoken(last[0]);
  }
  running = null;
  busy(false);
  keep(entry);
  if (!card.found && !entry.indexing) {
    await look(); // another tab may have brought documents
    entry.indexing = underWay();
    if (entry.indexing) keep(entry);
  }
  card.noted(entry);
}

function replay(entry) {
  shownEntry = entry.id;
  write("");
  const card = new Card(entry);
  for (const event of entry.events) card.add(event);
  card.noted(entry);
}

/** The question, to be changed and asked again. */
function edit(question) {
  write(question);
  $("question").focus();
}

async function again({ corpus, question }) {
  if (running) return;
  if (corpus === state.corpus || (await choose(corpus))) begin(question);
}

function busy(now) {
  $("ask-button").hidden = now;
  $("stop-button").hidden = !now;
  (now ? $("stop-button") : $("question")).focus({ preventScroll: true });
}

function write(text) {
  $("question").value = text;
  grow();
}

function grow() {
  const field = $("question");
  field.style.height = "auto";
  field.style.height = `${Math.min(200, field.scrollHeight + 2)}px`;
}

/** A question, its answer on top, and how that was found. */
class Card {
  constructor(entry) {
    this.answer = el("div", { class: "answer waiting" }, el("p", { class: "soft" }, "Searching …"));
    this.list = el("ol", { class: "steps" });
    this.foot = el("footer");
    this.spent = this.answerEvent = null;
    this.steps = new Steps(this.list);
    const about = el("p", { class: "soft about" }, foreign(entry.corpus), entry.policy ? ` · ${entry.policy}` : "", ` · ${new Date(entry.at).toLocaleString()}`, el("button", { type: "button", onclick: () => edit(entry.question) }, "Edit"));
    $("asked").replaceChildren(...heading(entry.question), about, this.answer, el("h2", {}, "How it was found"), this.list, this.foot);
    $("asked").hidden = false;
    $("ask-empty").hidden = true;
  }

  add(event) {
    this.steps.add(event);
    const act = { step: this.waiting, answer: this.answered, usage: this.counted, error: this.failed, stop: this.stopped }[event.type];
    act?.call(this, event);
  }

  waiting({ step }) {
    this.answer.querySelector("p").textContent = `Step ${step} …`;
  }

  /** Whether there is an answer, and one that says more than that there is none. */
  get found() {
    return Boolean(this.answerEvent) && this.answerEvent.found !== false;
  }

  spoken(event) {
    return event.type === "stop" ? ending(event, this.answerEvent) : Steps.spoken(event);
  }

  answered(event) {
    const { text, evidence } = (this.answerEvent = event);
    const looked = [...this.steps.looked.values()].filter((page) => page.page_id !== evidence?.page_id);
    this.answer.className = this.found ? "answer" : "answer none";
    this.answer.replaceChildren(el("p", { class: "text" }, foreign(text)));
    const source = evidence ? [el("span", { class: "soft" }, "Source "), citation(evidence)] : [];
    const others = looked.length ? [el("span", { class: "soft" }, evidence ? " also looked at " : "Looked at "), ...looked.map((page) => citation(page))] : [];
    if (source.length || others.length) this.answer.append(el("p", { class: "sources" }, ...source, ...others));
    if (!evidence?.box) return;
    const open = () => openPage(evidence, [[evidence.box, "cut"]]);
    this.answer.append(el("button", { type: "button", class: "part", "aria-label": "Open the page at the box", onclick: open }, picture(evidence.crop, "What the answer was read from", 720)));
  }

  /** That documents were still to come when it was asked. */
  noted(entry) {
    if (!entry.indexing) return;
    const note = el("p", { class: "note" }, el("span", {}, `Documents were still being read when this was asked (${entry.indexing}).`));
    if (!this.found) note.append(" ", el("button", { type: "button", onclick: () => again(entry) }, "Ask again"));
    this.answer.append(note);
  }

  counted(event) {
    this.spent = event;
  }

  failed({ message }) {
    this.answer.className = "answer failed";
    this.answer.replaceChildren(el("p", { role: "alert" }, message));
  }

  stopped(event) {
    if (this.answer.classList.contains("waiting")) {
      this.answer.className = "answer none";
      this.answer.replaceChildren(el("p", {}, "No answer."));
    }
    this.foot.replaceChildren(outcome(event, this.spent, this.answerEvent));
  }
}
