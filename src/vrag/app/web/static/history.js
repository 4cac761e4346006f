// What was asked, with everything that was seen of it, in this browser alone.

import { $, el, foreign } from "./dom.js";

const KEY = "vrag-history";
const MOST = 100;

export function entries() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(found) ? found.filter((one) => Array.isArray(one?.events)) : [];
  } catch {
    return [];
  }
}

/** The newest first; the oldest go when there is no room. */
export function keep(entry) {
  let all = [entry, ...entries().filter((one) => one.id !== entry.id)].slice(0, MOST);
  while (all.length) {
    try {
      localStorage.setItem(KEY, JSON.stringify(all));
      break;
    } catch {
      all = all.slice(0, Math.floor(all.length / 2));
    }
  }
  draw();
}

function forget(id) {
  localStorage.setItem(KEY, JSON.stringify(entries().filter((one) => one.id !== id)));
  draw();
}

export function startHistory() {
  $("history-clear").addEventListener("click", () => {
    localStorage.removeItem(KEY);
    draw();
  });
  $("history").open = matchMedia("(min-width: 60rem)").matches;
  addEventListener("storage", draw);
  draw();
}

function draw() {
  const all = entries();
  $("history-list").replaceChildren(...all.map(row));
  $("history-clear").hidden = !all.length;
  $("history").hidden = !all.length;
}

function row(entry) {
  const answer = entry.events.find((event) => event.type === "answer");
  const said = answer ? answer.text : entry.events.at(-1)?.reason === "cancelled" ? "stopped" : "no answer";
  return el(
    "li",
    {},
    el("a", { href: `#/ask?entry=${entry.id}` }, el("span", { class: "asked-before" }, foreign(entry.question)), el("span", { class: "soft" }, foreign(said))),
    el("button", { type: "button", "aria-label": `Forget: ${entry.question}`, title: "Forget", onclick: () => forget(entry.id) }, "✕"),
  );
}
