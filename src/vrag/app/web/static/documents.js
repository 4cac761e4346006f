// What is in a corpus: added by choosing or dropping, watched while it is indexed, removed.

import { call, corpusPath, get, post } from "./api.js";
import { $, alertUser, count, el, foreign } from "./dom.js";
import { loadCorpora, look, onChange, state } from "./state.js";
import { openPage } from "./viewer.js";

const FIRST = 100;
const AT_ONCE = 1000; // that the server lists
const KINDS = [["PDF", ".pdf"], ["PNG", ".png"], ["JPEG", ".jpg"], ["TIFF", ".tif"], ["WebP", ".webp"], ["Word", ".docx"], ["PowerPoint", ".pptx"], ["Excel", ".xlsx"], ["OpenDocument", ".odt"], ["HTML", ".html"]];
const NEW = "documents"; // the corpus that is made for the first files
let listed = FIRST;
let drawn = "";
let held = { version: "", documents: [] }; // what the server has listed so far
let drawing = 0;

export function startDocuments() {
  $("files").addEventListener("change", () => {
    add([...$("files").files]);
    $("files").value = "";
  });
  $("new-corpus").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (await create($("new-name").value.trim())) $("new-name").value = "";
  });
  $("documents-more").addEventListener("click", () => {
    listed *= 3;
    draw(true);
  });
  $("document-filter").addEventListener("input", () => draw(true));
  startDropping();
  onChange(() => draw(false));
}

function startDropping() {
  const veil = $("drop-veil");
  addEventListener("dragenter", (event) => {
    if (!event.dataTransfer?.types.includes("Files") || state.readOnly) return;
    $("drop-name").textContent = state.corpus || NEW;
    veil.hidden = false;
  });
  addEventListener("dragover", (event) => event.preventDefault());
  veil.addEventListener("dragleave", () => (veil.hidden = true));
  addEventListener("drop", (event) => {
    event.preventDefault();
    veil.hidden = true;
    if (state.readOnly || !event.dataTransfer.files.length) return;
    location.hash = "#/documents";
    add([...event.dataTransfer.files]);
  });
}

async function create(name) {
  try {
    await post("/v1/corpora", { name });
    await loadCorpora(name);
    return true;
  } catch (error) {
    alertUser(error.message);
    return false;
  }
}

/** One after the other, each with its own outcome. */
async function add(files) {
  if (!state.corpus && !(await create(NEW))) return;
  const corpus = state.corpus;
  const rows = files.map((file) => {
    const outcome = el("span", { class: "soft" }, "waits");
    $("uploads").prepend(el("li", {}, foreign(file.name), " ", outcome));
    return [file, outcome];
  });
  for (const [file, outcome] of rows) {
    outcome.textContent = "uploading …";
    const [text, kind] = await upload(corpus, file);
    outcome.textContent = text;
    outcome.className = kind;
    if (corpus === state.corpus) await look();
  }
}

async function upload(corpus, file) {
  const form = new FormData();
  form.append("files", file, file.name);
  try {
    const answer = await call(`${corpusPath(corpus)}/documents`, { method: "POST", body: form }, [202, 422]);
    const { files, detail } = await answer.json();
    if (!files) return [String(detail), "bad"];
    const [one] = files;
    if (!one.accepted) return [one.reason, "bad"];
    if (!one.unchanged) return ["added", "good"];
    return [one.document === file.name ? "already here" : `already here as ${one.document}`, "soft"];
  } catch (error) {
    return [error.message, "bad"];
  }
}

async function draw(anyway) {
  const { corpus, info } = state;
  $("adding").hidden = state.readOnly;
  $("new-corpus").hidden = !state.creates;
  $("files").accept = state.reads.join(",");
  $("kinds").textContent = KINDS.filter(([, suffix]) => state.reads.includes(suffix)).map(([name]) => name).join(", ");
  if (!info) {
    $("documents").tBodies[0].replaceChildren();
    $("documents-title").textContent = corpus ? "Documents" : "No corpus yet";
    drawn = "";
    return;
  }
  const version = JSON.stringify([corpus, info.pages, info.document_count, info.read_count, info.failure_count, info.indexing.state, info.indexing.runs]);
  if (version === drawn && !anyway) return;
  drawn = version;
  const filter = $("document-filter").value.trim().toLowerCase();
  const mine = ++drawing;
  const full = await list(corpus, version, filter ? Infinity : listed).catch((error) => alertUser(error.message));
  if (!full || mine !== drawing || corpus !== state.corpus) return;
  const found = full.documents.filter((one) => one.names.some((name) => name.toLowerCase().includes(filter)));
  $("documents").tBodies[0].replaceChildren(...found.slice(0, listed).map((one) => row(corpus, one)));
  const all = count(full.document_count, "document");
  const read = full.read_count === full.document_count ? all : `${full.read_count.toLocaleString()} of ${all} read`;
  $("documents-title").textContent = `${read}, ${count(full.pages, "page")}`;
  $("documents-more").hidden = (filter ? found.length : full.document_count) <= listed;
  $("filter-choice").hidden = full.document_count < 10;
  $("failures").hidden = !full.failure_count;
  $("failure-list").replaceChildren(...full.failures.slice(0, 200).map(failure));
}

/** The corpus with its first `most` documents, of which the server lists so many at once. */
async function list(corpus, version, most) {
  let full = held.version === version ? held : { document_count: Infinity, documents: [] };
  while (full.documents.length < Math.min(most, full.document_count)) {
    const { documents } = full;
    const next = await get(`${corpusPath(corpus)}?offset=${documents.length}&limit=${Math.min(AT_ONCE, most - documents.length)}`);
    full = { ...next, version, documents: [...documents, ...next.documents] };
    if (!next.documents.length) break; // some have left meanwhile
  }
  return (held = full);
}

function row(corpus, one) {
  const place = { page_id: `${one.id}-1`, document_id: one.id, document: one.name, page: 1, image: `${corpusPath(corpus)}/pages/${one.id}/1` };
  const name = one.stored ? el("button", { type: "button", class: "link", onclick: () => openPage(place) }, foreign(one.name)) : foreign(one.name);
  const remove = one.uploaded && !state.readOnly ? removal(corpus, one) : null;
  const others = one.names.filter((other) => other !== one.name);
  const also = others.length ? el("div", { class: "soft" }, "also ", foreign(others.join(", "))) : null;
  return el("tr", {}, el("th", { scope: "row" }, name, also), el("td", {}, pages(one)), el("td", {}, remove));
}

function pages({ pages: all, stored, reason }) {
  if (reason !== null) return el("span", { class: "bad" }, "couldn’t be read: ", foreign(reason));
  if (all === null) return "not read yet";
  return stored === all ? String(all) : `${stored} of ${all}`;
}

/** Asks once more before it does. */
function removal(corpus, one) {
  let sure = false;
  const button = el("button", { type: "button", "aria-label": `Remove ${one.name}` }, "Remove");
  button.addEventListener("blur", () => {
    sure = false;
    button.textContent = "Remove";
  });
  button.addEventListener("click", async () => {
    if (!sure) {
      sure = true;
      button.textContent = "Really?";
      return;
    }
    button.disabled = true;
    try {
      await call(`${corpusPath(corpus)}/documents/${one.id}`, { method: "DELETE" });
      await look();
    } catch (error) {
      button.disabled = false;
      alertUser(error.message);
    }
  });
  return button;
}

function failure({ document, page, reason }) {
  return el("li", {}, el("b", {}, foreign(page === null ? document : `${document}, page ${page}`)), " ", foreign(reason));
}
