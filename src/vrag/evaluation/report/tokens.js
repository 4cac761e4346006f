// The tokens of an episode (vrag.training.token_trace), coloured by what training made of them.
// The app imports this file and the report holds it inline, so it imports nothing itself.

const known = (value) => value !== null && value !== undefined;
const said = (value, digits) => (known(value) ? value.toFixed(digits).replace(/^-0(\.0*)?$/, "0$1").replace("-", "−") : "–");
const signed = (value, digits) => (value > 0 ? "+" : "") + said(value, digits);

// what can be coloured: its name, its value at a token, how full the colour is there (-1 to 1), the ends of the scale
const WAYS = {
  advantage: { name: "advantage", of: (token) => token.advantage, fill: (value) => value / 2, ends: ["−2", "+2"] },
  logprob: { name: "log-probability", of: (token) => token.logprob, fill: (value) => -value / 5, ends: ["0", "−5"] },
  entropy: { name: "entropy", of: (token) => token.update?.entropy, fill: (value) => value / 3, ends: ["0", "3 nats"] },
  ratio: { name: "ratio", of: (token) => token.update?.ratio, fill: (value) => Math.log(value) / 0.2, ends: ["0.82", "1.22"] },
};
const BOUNDS = { "-1": "the lower bound acted", 1: "the upper bound acted" };
let chosen = "advantage"; // of all episodes, until the page is left

function make(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** A closed `details` about a trace, whose text is made when it is opened. */
export function tokenDetails(trace) {
  const size = (spans) => spans.reduce((sum, span) => sum + (span.type === "image" ? span.count : span.pieces.length), 0);
  const written = size(trace.spans.filter((span) => span.type === "sampled"));
  const weight = trace.advantage === null ? "left out of the update" : `advantage ${signed(trace.advantage, 2)}`;
  const title = `${size(trace.spans).toLocaleString("en")}, of them ${written.toLocaleString("en")} sampled · ${weight}`;
  const details = make("details", { class: "token-details" }, make("summary", {}, make("b", {}, "Tokens"), ` ${title}`));
  details.addEventListener("toggle", () => details.append(...tokenView(trace)), { once: true });
  return details;
}

/** The choice of colour, the numbers of one token, and the text. */
function tokenView(trace) {
  const numbers = make("output", { class: "token-numbers" });
  const text = make("div", { class: "token-text", tabindex: "0", role: "group", "aria-label": "The text as the model saw it. Arrow keys go through the tokens that it wrote." });
  const { nodes, tokens } = draw(trace);
  text.append(...nodes);
  follow(text, numbers, tokens);
  return [bar(trace, text, tokens), numbers, text];
}

/** The spans as elements, and the sampled tokens in order, each with its element and all that is known of it. */
function draw(trace) {
  const tokens = [];
  let position = 0;
  let turn = 0;
  const nodes = trace.spans.map((span) => {
    const start = position;
    position += span.type === "image" ? span.count : span.pieces.length;
    if (span.type === "observed") return make("bdi", {}, span.pieces.join(""));
    if (span.type === "image") return image(span);
    turn += 1;
    const found = span.pieces.map((piece, i) => ({ ...numbersOf(span, i), advantage: trace.advantage, piece, turn, position: start + i + 1, element: element(piece, span.update?.clipped[i]) }));
    tokens.push(...found);
    return make("bdi", { class: "written" }, ...found.map((token) => token.element));
  });
  return { nodes, tokens };
}

function numbersOf({ logprobs, update }, i) {
  const seen = update && { logprob: update.logprobs[i], ratio: update.ratios[i], entropy: update.entropy[i], clipped: update.clipped[i] };
  return { logprob: logprobs[i], update: seen };
}

function image({ ref, crop, count }) {
  const place = make("bdi", {}, ref.document);
  return make("span", { class: "pads" }, crop ? "[image: part of " : "[image: ", place, `, page ${ref.page}, ${count} tokens]`);
}

/** What can't be seen of a token is marked: a line's end, and a part of a character. */
function element(piece, clipped) {
  const marked = piece.split(/(?=\n)/).flatMap((part) => (part.startsWith("\n") ? [make("i", { class: "line" }), part] : [part]));
  return make("span", { class: `token${piece ? "" : " part"}${clipped ? " clipped" : ""}` }, ...marked);
}

/** The switch of colours, with its scale. */
function bar(trace, text, tokens) {
  const ways = Object.keys(WAYS).filter((way) => tokens.some((token) => known(WAYS[way].of(token))));
  const select = make("select", {}, ...ways.map((way) => make("option", { value: way }, WAYS[way].name)));
  const [low, high] = [make("span", {}), make("span", {})];
  const ramp = make("i", { class: "ramp" });
  const made = make("p", { class: "token-bar" }, make("label", {}, "Colour by ", select), make("span", { class: "scale" }, low, ramp, high));
  if (tokens.some((token) => token.update?.clipped)) made.append(make("span", {}, make("i", { class: "token clipped" }, "dashed"), ": a bound acted"));
  made.append(make("span", {}, "grey: given to the model, masked in the loss"));
  const colour = () => {
    const way = WAYS[select.value];
    [low.textContent, high.textContent] = way?.ends ?? [];
    text.dataset.by = ramp.dataset.by = select.value;
    for (const token of tokens) fill(token, way);
  };
  if (ways.includes(chosen)) select.value = chosen;
  select.addEventListener("change", () => {
    chosen = select.value;
    colour();
  });
  made.hidden = !ways.length;
  colour();
  return made;
}

function fill(token, way) {
  const value = way?.of(token);
  const part = known(value) ? Math.max(-1, Math.min(1, way.fill(value))) : 0;
  token.element.style.setProperty("--fill", `${Math.round(60 * Math.abs(part))}%`);
  token.element.classList.toggle("below", part < 0);
}

/** Show the numbers of the token under the pointer, else of the one that keys or a press chose. */
function follow(text, numbers, tokens) {
  const by = new Map(tokens.map((token) => [token.element, token]));
  const under = ({ target }) => by.get(target.closest(".token"));
  let at = -1;
  const show = (token) => numbers.replaceChildren(...(token ? facts(token) : ["Point at a token that the model wrote, or go through them with the arrow keys."]));
  const choose = (next) => {
    if (!tokens[next]) return;
    tokens[at]?.element.classList.remove("current");
    at = next;
    tokens[at].element.classList.add("current");
    reveal(text, tokens[at].element);
    show(tokens[at]);
  };
  const keys = {
    ArrowRight: () => at + 1,
    ArrowLeft: () => at - 1,
    ArrowDown: () => tokens.findIndex((token) => token.turn === (tokens[at]?.turn ?? 0) + 1),
    ArrowUp: () => tokens.findIndex((token) => token.turn === (tokens[at]?.turn ?? 0) - 1),
    Home: () => 0,
    End: () => tokens.length - 1,
  };
  text.addEventListener("pointerover", (event) => under(event) && show(under(event)));
  text.addEventListener("pointerleave", () => show(tokens[at]));
  text.addEventListener("click", (event) => choose(tokens.indexOf(under(event))));
  text.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    choose(keys[event.key]());
  });
  show();
}

/** Scroll the text, and not the page, until the token is in it. */
function reveal(text, token) {
  const [outer, inner] = [text.getBoundingClientRect(), token.getBoundingClientRect()];
  if (inner.top < outer.top || inner.bottom > outer.bottom) text.scrollTop += inner.top - outer.top - text.clientHeight / 3;
}

function facts({ piece, position, turn, advantage, logprob, update }) {
  const share = known(logprob) ? ` (${(100 * Math.exp(logprob)).toPrecision(3)} %)` : "";
  const rows = [
    ["token", position.toLocaleString("en")],
    ["turn", String(turn)],
    ["advantage", advantage === null ? "none: left out of the update" : signed(advantage, 3)],
    ["log-probability", `${said(logprob, 3)}${share}`],
  ];
  if (update) {
    rows.push(["in the update", said(update.logprob, 3)], ["ratio", said(update.ratio, 3)], ["entropy", said(update.entropy, 2)]);
    if (update.clipped) rows.push(["clipped", BOUNDS[update.clipped]]);
  } else if (advantage !== null) rows.push(["in the update", "no gradient"]);
  return [make("code", {}, make("bdi", {}, piece === "" ? "part of a character" : JSON.stringify(piece))), ...rows.map(([name, value]) => make("span", {}, `${name} `, make("b", {}, value)))];
}
