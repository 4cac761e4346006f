// One page, large: turned, zoomed, with its boxes and its text.

import { get } from "./api.js";
import { $, el, where } from "./dom.js";
import { frame, picture } from "./pictures.js";

const ZOOMS = [1, 1.5, 2, 3, 4];
let shown = null; // { place, boxes: [[box, kind]] of the page that was opened }
let opened = null;
let zoom = 0;
let turning = 0;

/** Open `place`; with boxes, at the first of them. */
export function openPage(place, boxes = []) {
  opened = shown = { place, boxes };
  zoom = 0;
  const dialog = $("viewer");
  if (!dialog.open) dialog.showModal();
  draw();
  $("viewer-stage").focus();
}

const base = (place) => place.image.split("?")[0].replace(/\/\d+$/, "");

function draw() {
  const { place, boxes } = shown;
  $("viewer-title").textContent = where(place);
  $("viewer-status").textContent = where(place);
  const stage = $("viewer-stage");
  const sheet = el("div", { class: "framed" }, picture(place.image, where(place), stage.clientWidth * ZOOMS[zoom]));
  sheet.append(...boxes.map(([box, kind]) => frame(box, kind)));
  sheet.style.setProperty("--zoom", ZOOMS[zoom]);
  stage.classList.toggle("fit", zoom === 0);
  stage.replaceChildren(sheet);
  stage.scrollTo(0, 0);
  sheet.querySelector("img")?.addEventListener("load", () => sheet.querySelector(".box")?.scrollIntoView({ block: "center", inline: "center" }));
  words();
}

async function words() {
  const [text, wanted] = [$("viewer-words"), shown.place];
  text.hidden = $("viewer-text").getAttribute("aria-pressed") !== "true";
  if (text.hidden) return;
  text.textContent = "…";
  const found = await get(`${wanted.image.split("?")[0]}/text`).catch((error) => ({ text: error.message }));
  if (shown.place === wanted) text.textContent = found.text || "This page has no text.";
}

async function turn(by) {
  const { place } = shown;
  const page = place.page + by;
  const mine = ++turning;
  if (page < 1) return;
  try {
    const next = await get(`${base(place)}/${page}/text`);
    if (mine !== turning || !$("viewer").open) return;
    shown = next.page_id === opened.place.page_id ? opened : { place: next, boxes: [] };
    draw();
  } catch (error) {
    $("viewer-status").textContent = error.status === 404 ? "No further page." : error.message;
  }
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
