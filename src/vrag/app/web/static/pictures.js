// Page images: loaded while they are in sight, in the size that they are shown in, with boxes drawn over them.

import { call, token } from "./api.js";
import { el, where } from "./dom.js";

// px; few widths, so that what was loaded is found again. The server decodes a page of 150 dpi (A4: 1240 px) at a quarter
// of its size for one step, and at half of it for two, which takes half as long as for steps of 320.
const STEP = 300;
const loads = new WeakMap(); // image → what aborts its request, where that bears a token

/** The path of an image that is shown `css` pixels wide. */
export function sized(path, css) {
  const wide = Math.min(4096, Math.ceil((css * Math.min(2, devicePixelRatio)) / STEP) * STEP);
  return `${path}${path.includes("?") ? "&" : "?"}width=${wide}`;
}

// What is scrolled past before it came isn't waited for: what is in sight would come after all of it.
const seen = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) load(target);
      else drop(target);
    }
  },
  { rootMargin: "400px" },
);

function load(image) {
  if (token()) fetched(image);
  else image.src = image.dataset.path;
}

function drop(image) {
  loads.get(image)?.abort();
  if (!image.naturalWidth) image.removeAttribute("src");
}

async function fetched(image) {
  const mine = new AbortController();
  loads.set(image, mine);
  try {
    const url = URL.createObjectURL(await (await call(image.dataset.path, { signal: mine.signal })).blob());
    image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
    image.src = url;
  } catch (error) {
    if (error.name !== "AbortError") image.dispatchEvent(new Event("error"));
  }
}

/** An `img`. One that can't be had becomes a note. */
export function picture(path, alt, css) {
  const image = el("img", { alt, decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(el("span", { class: "missing" }, `No image here: ${alt}`)), { once: true });
  image.addEventListener("load", () => seen.unobserve(image), { once: true });
  if (!path) queueMicrotask(() => image.dispatchEvent(new Event("error")));
  else {
    image.dataset.path = sized(path, css);
    seen.observe(image);
  }
  return image;
}

/** A frame over a page: `box` in fractions of it; `kind` is "cut" or "gold". */
export function frame(box, kind) {
  const made = el("span", { class: `box ${kind}`, "aria-hidden": "true" });
  made.style.left = `${100 * box.x1}%`;
  made.style.top = `${100 * box.y1}%`;
  made.style.width = `${100 * (box.x2 - box.x1)}%`;
  made.style.height = `${100 * (box.y2 - box.y1)}%`;
  return made;
}

/** A page with boxes over it, which opens it when pressed. `boxes`: pairs of box and kind. */
export function sheet(place, boxes, css, onOpen) {
  return el(
    "button",
    { type: "button", class: "sheet", "aria-label": `Open ${where(place)}`, onclick: onOpen },
    el("span", { class: "framed" }, picture(place.image, where(place), css), ...boxes.map(([box, kind]) => frame(box, kind))),
  );
}
