// The address after # says what is shown: #/VIEW?key=value.

import { showAsk, startAsk } from "./ask.js";
import { startDocuments } from "./documents.js";
import { $, alertUser, count, el, quiet } from "./dom.js";
import { showRuns, startRuns } from "./runs.js";
import { showSearch, startSearch } from "./search.js";
import { busy, choose, onChange, startState, state } from "./state.js";
import { startViewer } from "./viewer.js";

const VIEWS = { ask: showAsk, search: showSearch, documents: () => {}, runs: showRuns };

async function route() {
  quiet();
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const view = Object.hasOwn(VIEWS, path) ? path : "ask";
  const given = Object.fromEntries(new URLSearchParams(query ?? ""));
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  for (const name of Object.keys(VIEWS)) $(`view-${name}`).hidden = name !== view;
  $("viewer").close();
  document.title = view === "ask" ? "vrag" : `${view[0].toUpperCase()}${view.slice(1)} · vrag`;
  if (given.corpus && given.corpus !== state.corpus && !(await choose(given.corpus))) return;
  if (given.policy && state.policies.includes(given.policy)) $("policy").value = given.policy;
  await VIEWS[view](given);
}

function empty() {
  const { corpus, info } = state;
  const said = info?.pages
    ? [el("p", { class: "lead" }, `${count(info.pages, "page")} of ${count(info.read_count, "document")} ${info.pages === 1 ? "is" : "are"} ready. Ask, and watch how the answer is found.`), unread(info)]
    : [el("p", { class: "lead" }, corpus ? "No page is ready yet." : "There are no documents yet."), corpus ? unread(info) : null, state.readOnly ? null : el("p", {}, "Drop documents anywhere on this page, or ", el("a", { href: "#/documents" }, "choose them"), ".")];
  $("ask-empty").replaceChildren(...said.filter(Boolean));
}

/** The documents of which no page is ready. */
function unread(info) {
  const left = info ? info.document_count - info.read_count : 0;
  if (!left) return null;
  if (busy()) return el("p", { class: "soft" }, `${count(left, "more document")} ${left === 1 ? "is" : "are"} being read.`);
  return el("p", { class: "soft" }, `${count(left, "document")} couldn’t be read: `, el("a", { href: "#/documents" }, "why"), ".");
}

async function start() {
  $("alert-close").addEventListener("click", quiet);
  startViewer();
  startAsk();
  startSearch();
  startDocuments();
  onChange(empty);
  await startState();
  const failed = await startRuns().then(() => null, (error) => error); // the other views need none
  addEventListener("hashchange", () => route().catch((error) => alertUser(error.message)));
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.matches("input, textarea, select") || $("viewer").open) return;
    const field = [$("question"), $("query")].find((one) => one.offsetParent);
    if (!field) return;
    event.preventDefault();
    field.focus();
  });
  await route();
  if (failed) alertUser(`Runs can’t be shown: ${failed.message}`);
  document.documentElement.dataset.ready = "yes";
}

start().catch((error) => alertUser(error.message));
