// Page images: loaded when they come into sight, in the size that they are shown in, with boxes drawn over them.

import { call, token } from "./api.js";
import { el, where } from "./dom.js";

const STEP = 320; // px; few widths, so that what was loaded is found again

/** The path of an image that is shown `css` pixels wide. */
export function sized(path, css) {
  const wide = Math.min(4096, Math.ceil((css * Math.min(2, devicePixelRatio)) / STEP) * STEP);
  return `${path}${path.includes("?") ? "&" : "?"}width=${wide}`;
}

const seen = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      fetched(target);
    }
  },
  { rootMargin: "400px" },
);

async function fetched(image) {
  try {
    const url = URL.createObjectURL(await (await call(image.dataset.path)).blob());
    image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
    image.src = url;
  } catch {
    image.dispatchEvent(new Event("error"));
  }
}

/** An `img`. One that can't be had becomes a note. */
export function picture(path, alt, css) {
  const image = el("img", { alt, loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(el("span", { class: "missing" }, `No image here: ${alt}`)), { once: true });
  if (!path) queueMicrotask(() => image.dispatchEvent(new Event("error")));
  else if (token()) {
    image.dataset.path = sized(path, css);
    seen.observe(image);
  } else image.src = sized(path, css);
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
