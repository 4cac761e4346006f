// One page, large: turned, zoomed, with its boxes and its text.

import { get } from "./api.js";
import { $, el, marked, where } from "./dom.js";
import { frame, picture } from "./pictures.js";

const ZOOMS = [1, 1.5, 2, 3, 4];
let shown = null; // { place, boxes: [[box, kind]], query, info: what the server says of the page, promised }
let opened = null;
let zoom = 0;

/** Open `place`; with boxes, at the first of them; the words of `query` are marked, on this page and on others. */
export function openPage(place, boxes = [], query = "") {
  opened = { place, boxes, query, info: described(place, query) };
  zoom = 0;
  const dialog = $("viewer");
  if (!dialog.open) dialog.showModal();
  show(opened);
  $("viewer-stage").focus();
}

const path = (place) => place.image.split("?")[0];

/** What the server says of a page; of one that isn't there, that. `pages`: of the document, as far as it is known. */
async function described(place, query, pages = null) {
  const given = query ? `?${new URLSearchParams({ q: query })}` : "";
  return get(`${path(place)}/text${given}`).catch((error) => ({ text: error.message, found: [], pages }));
}

async function show(next) {
  shown = next;
  title(next.place, null);
  draw();
  const { pages } = await next.info;
  if (shown === next) title(next.place, pages);
}

function title(place, pages) {
  $("viewer-title").textContent = $("viewer-status").textContent = `${where(place)}${pages ? ` of ${pages}` : ""}`;
  $("viewer-previous").setAttribute("aria-disabled", String(place.page <= 1));
  $("viewer-next").setAttribute("aria-disabled", String(pages !== null && place.page >= pages));
}

function draw() {
  const { place, boxes } = shown;
  const stage = $("viewer-stage");
  const sheet = el("div", { class: "framed" }, picture(place.image, where(place), stage.clientWidth * ZOOMS[zoom]));
  sheet.append(...boxes.map(([box, kind]) => frame(box, kind)));
  sheet.style.setProperty("--zoom", ZOOMS[zoom]);
  stage.classList.toggle("fit", zoom === 0);
  stage.replaceChildren(sheet);
  stage.scrollTo(0, 0);
  sheet.querySelector("img")?.addEventListener("load", () => sheet.querySelector(".box")?.scrollIntoView({ block: "center", inline: "center" }));
  mark(sheet);
  words();
}

/** Mark the words that were searched for. */
async function mark(sheet) {
  const { found } = await shown.info;
  sheet.append(...found.map(({ box }) => frame(box, "word")));
}

async function words() {
  const [text, mine] = [$("viewer-words"), shown];
  text.hidden = $("viewer-text").getAttribute("aria-pressed") !== "true";
  if (text.hidden) return;
  text.textContent = "…";
  const info = await mine.info;
  if (shown === mine) text.replaceChildren(...(info.text ? marked(info.text, new Set(info.found.map((word) => word.text))) : ["This page has no text."]));
}

async function turn(by) {
  const mine = shown;
  const { pages } = await mine.info;
  const page = mine.place.page + by;
  if (mine !== shown || !$("viewer").open) return;
  if (page < 1 || page > pages) {
    $("viewer-status").textContent = "No further page.";
    return;
  }
  if (page === opened.place.page) {
    show(opened);
    return;
  }
  const { document_id, document, image } = mine.place;
  const place = { page_id: `${document_id}-${page}`, document_id, document, page, image: image.split("?")[0].replace(/\d+$/, page) };
  show({ place, boxes: [], query: mine.query, info: described(place, mine.query, pages) });
}

function enlarge(by) {
  const next = Math.max(0, Math.min(ZOOMS.length - 1, zoom + by));
  if (next === zoom) return;
  zoom = next;
  draw();
}

function toggleText() {
  const button = $("viewer-text");
  button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
  words();
}

const KEYS = {
  ArrowLeft: () => turn(-1),
  ArrowRight: () => turn(1),
  PageUp: () => turn(-1),
  PageDown: () => turn(1),
  "+": () => enlarge(1),
  "=": () => enlarge(1),
  "-": () => enlarge(-1),
  0: () => enlarge(-ZOOMS.length),
  t: toggleText,
};

export function startViewer() {
  const dialog = $("viewer");
  $("viewer-previous").addEventListener("click", () => turn(-1));
  $("viewer-next").addEventListener("click", () => turn(1));
  $("viewer-smaller").addEventListener("click", () => enlarge(-1));
  $("viewer-larger").addEventListener("click", () => enlarge(1));
  $("viewer-text").addEventListener("click", toggleText);
  $("viewer-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => {
    const act = event.ctrlKey || event.metaKey || event.altKey ? null : KEYS[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
