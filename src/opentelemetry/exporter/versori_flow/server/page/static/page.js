// Makes the page live, and quicker to use. Without it every link and every form here does the same, with a page
// of its own: all that is shown is in the address, and this fetches that page and changes what differs.
"use strict";

const root = document.documentElement;
root.classList.add("js");

// --- One page becomes the next -------------------------------------------------------------------------------

// What a person has opened, closed or chosen stays so, whatever the server would do.
const touched = new WeakSet();

function syncAttributes(element, wanted) {
  for (const { name } of [...element.attributes]) {
    if (wanted.hasAttribute(name) || name === "tabindex" || name === "data-js") continue;
    if (name === "open" && touched.has(element)) continue;
    element.removeAttribute(name);
    refill(element, name);
  }
  for (const { name, value } of [...wanted.attributes]) {
    if (name === "tabindex" && element.hasAttribute("tabindex")) continue;
    if (name === "open" && touched.has(element)) continue;
    if (element.getAttribute(name) === value) continue;
    element.setAttribute(name, value);
    refill(element, name);
  }
}

// A field keeps what is typed until its page is one of another search: the attribute alone no longer shows then.
function refill(field, name) {
  if (field.nodeName !== "INPUT") return;
  if (name === "value") field.value = field.defaultValue;
  if (name === "checked") field.checked = field.defaultChecked;
}

function reselect(field, chosen, otherwise) {
  const keeps = touched.has(field) && [...field.options].some((option) => option.value === chosen);
  field.value = keeps ? chosen : otherwise;
}

// Changes a node into another one, and keeps every element that has the same id in both.
function morph(node, wanted) {
  if (node.nodeType !== Node.ELEMENT_NODE) {
    if (node.data !== wanted.data) node.data = wanted.data;
    return;
  }
  syncAttributes(node, wanted);
  const chosen = node.value;
  const known = new Map();
  for (const child of node.children) if (child.id) known.set(child.id, child);
  const kept = new Set();
  for (const child of wanted.children) if (child.id) kept.add(child.id);
  let at = node.firstChild;
  for (const next of [...wanted.childNodes]) {
    while (at && at.id && !kept.has(at.id)) at = drop(at);
    let same = null;
    if (next.id) same = known.get(next.id);
    else if (at && !at.id && at.nodeName === next.nodeName) same = at;
    if (!same || same.nodeName !== next.nodeName) {
      node.insertBefore(document.importNode(next, true), at);
      continue;
    }
    if (same === at) at = at.nextSibling;
    else node.insertBefore(same, at);
    morph(same, next);
  }
  while (at) at = drop(at);
  if (node.nodeName === "SELECT") reselect(node, chosen, wanted.value);
}

function drop(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

// --- Fetching --------------------------------------------------------------------------------------------------

let latest = 0;
let going = 0; // what a person asked for and has not got yet

async function fetched(url) {
  const answer = await fetch(url, { headers: { accept: "text/html" }, credentials: "same-origin" });
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

function take(page, id) {
  const mine = document.getElementById(id);
  const theirs = page.getElementById(id);
  if (mine && theirs) morph(mine, theirs);
}

// Shows what is at an address. `how` is "push", "replace", "back" or, where it only comes up to date, nothing.
async function go(url, how) {
  const turn = ++latest;
  if (how) going++;
  try {
    const page = await fetched(url);
    if (turn === latest) show(page, url, how);
  } catch (error) {
    if (how) location.assign(url); // the browser says why it can't be had
  } finally {
    if (how) going--;
  }
  if (how) refresh();
}

function show(page, url, how) {
  const focused = document.activeElement;
  if (how === "push") history.pushState(null, "", url);
  if (how === "replace") history.replaceState(null, "", url);
  document.title = page.title;
  take(page, "main");
  take(page, "panel");
  settle();
  listen();
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}

// The details alone, which is all that changes.
async function details(link) {
  const turn = ++latest;
  going++;
  try {
    const page = await fetched(link.href.replace("/flow?", "/flow/span?"));
    if (turn !== latest) return;
    history.pushState(null, "", link.href);
    take(page, "panel");
    document.getElementById("panel").scrollTop = 0;
    settle();
    reveal();
  } catch (error) {
    location.assign(link.href); // the browser says why it can't be had
  } finally {
    going--;
  }
  refresh();
}

function same(link) {
  const url = new URL(link.href);
  return url.origin === location.origin && (url.pathname === "/" || url.pathname === "/flow");
}

document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const copied = event.target.closest("button.copy");
  if (copied) return void copy(copied);
  const summary = event.target.closest("summary");
  if (summary) return void opened(summary.parentElement);
  const link = event.target.closest("a[href]");
  if (!link || link.hasAttribute("download") || link.target || !same(link)) return;
  // Within a flow only; another one is another page, from its top.
  const elsewhere = new URL(link.href).pathname !== location.pathname || link.closest("table");
  if (elsewhere && !link.closest("thead")) return;
  event.preventDefault();
  if (link.matches(".row .span, #panel .tools a:not(#zoom):not(#permalink)")) return void details(link);
  if (link.matches(".close")) return void close();
  go(link.href, "push");
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "get" || !form.action) return;
  event.preventDefault();
  for (const field of form.elements) touched.delete(field);
  const fields = [...new FormData(form)].filter(([, value]) => value);
  go(`${new URL(form.action).pathname}?${new URLSearchParams(fields)}`, "push");
});

document.addEventListener("change", (event) => event.target.matches("select") && touched.add(event.target));

addEventListener("popstate", () => go(location.href, "back"));

// A trace that was closed comes with its rows when it is opened.
function opened(trace) {
  touched.add(trace);
  if (trace.open || !trace.querySelector(":scope > .tools > .closed")) return;
  const url = new URL(location.href);
  const open = (url.searchParams.get("open") || "").split(",").filter(Boolean);
  url.searchParams.set("open", [...open, trace.dataset.key].join(","));
  go(url.href, "replace");
}

async function close() {
  const panel = document.getElementById("panel");
  const link = panel.querySelector(".close");
  if (!link) return;
  latest++;
  history.pushState(null, "", link.href);
  panel.hidden = true;
  panel.replaceChildren();
  settle();
  const row = document.querySelector('.row .span[tabindex="0"]');
  if (row) row.focus({ preventScroll: true });
}

// --- Live ------------------------------------------------------------------------------------------------------

const main = document.getElementById("main");
const live = document.getElementById("live");
const LEAST_PAUSE = 700; // ms between two updates
let source = null;
let listening = "";
let paused = sessionStorage.getItem("paused") === "1";
let newest = main.dataset.version;
let timer = 0;
let refreshed = -LEAST_PAUSE;

function say(words) {
  if (!live) return;
  live.lastElementChild.textContent = words;
  live.setAttribute("aria-pressed", String(!paused));
  live.dataset.js = words;
}

function listen() {
  const wanted = document.hidden ? "" : main.dataset.live || "";
  if (!live || wanted === listening) return;
  if (source) source.close();
  source = null;
  listening = wanted;
  if (!wanted) return;
  source = new EventSource(wanted);
  source.onopen = () => say(paused ? "Paused" : "Live");
  source.onerror = () => say("Not connected");
  source.onmessage = (event) => {
    newest = event.data;
    refresh();
  };
  source.addEventListener("full", () => {
    source.close();
    say("Not live: too many pages are open");
  });
}

function refresh() {
  if (newest === main.dataset.version) return;
  if (paused) return void say("Paused, there is more");
  // What a person asked for goes first, and comes up to date by itself.
  if (timer || going) return;
  timer = setTimeout(update, Math.max(0, refreshed + LEAST_PAUSE - performance.now()));
}

async function update() {
  if (!going && !paused) await go(asSeen());
  refreshed = performance.now();
  timer = 0;
  // What changed meanwhile. Where nothing could be had, the next event tries again.
  if (source && source.readyState === EventSource.OPEN) refresh();
}

// The present address, and the traces that are being looked at: newer ones must not close them.
function asSeen() {
  const url = new URL(location.href);
  const looked = [...document.querySelectorAll("details.trace[open]")].filter((trace) => {
    const { top, bottom } = trace.getBoundingClientRect();
    return touched.has(trace) || (scrollY > 0 && bottom > 0 && top < innerHeight);
  });
  if (looked.length && !url.searchParams.has("trace")) {
    const open = (url.searchParams.get("open") || "").split(",").filter(Boolean);
    url.searchParams.set("open", [...new Set([...open, ...looked.map((trace) => trace.dataset.key)])].join(","));
  }
  return url.href;
}

function pause() {
  paused = !paused;
  sessionStorage.setItem("paused", paused ? "1" : "");
  say(paused ? "Paused" : "Live");
  if (!paused) refresh();
}

if (live) live.addEventListener("click", pause);
document.addEventListener("visibilitychange", listen);
addEventListener("pagehide", () => source && source.close());

setInterval(() => {
  for (const time of document.querySelectorAll("time[data-at]")) {
    const words = ago(Date.now() / 1000 - Number(time.dataset.at));
    if (time.textContent !== words) time.textContent = words;
  }
}, 1000);

function ago(seconds) {
  if (seconds < 2) return "just now";
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= size) return `${Math.round(seconds / size)} ${unit} ago`;
  }
  return `${Math.round(seconds)} s ago`;
}

// --- Copying ---------------------------------------------------------------------------------------------------

async function copy(button) {
  let text = "";
  if (button.dataset.raw) text = JSON.parse(button.dataset.raw);
  else if (button.dataset.from) text = document.getElementById(button.dataset.from).textContent;
  else text = button.previousElementSibling.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without https another host's address gives no clipboard: the old way.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy"), 1200);
}

// --- Rows ------------------------------------------------------------------------------------------------------

const ROWS = "li.row, .flows tbody tr:has(a)";
const LINKS = "ol.rows a, .flows tbody a";
const rows = () => [...main.querySelectorAll(ROWS)].filter((row) => row.checkVisibility());

// One row is a stop of the Tab key; arrows lead to the others.
function settle() {
  const links = main.querySelectorAll(LINKS);
  const url = new URL(location.href);
  const key = url.searchParams.get("span");
  const chosen = key && document.getElementById(`r-${url.searchParams.get("in") || url.searchParams.get("trace")}-${key}`);
  let stop = [...links].find((link) => link.tabIndex === 0 && link.dataset.js) || null;
  if (chosen) stop = chosen.querySelector(".span");
  if (!stop) stop = main.querySelector("ol.rows a.span, .flows tbody a");
  for (const link of links) {
    link.tabIndex = link === stop ? 0 : -1;
    if (link === stop) link.dataset.js = "stop";
    else delete link.dataset.js;
  }
  for (const row of main.querySelectorAll(".row.chosen")) row.classList.remove("chosen");
  if (chosen) chosen.classList.add("chosen");
}

// The row of the details, where it is out of sight or below them, which on a small screen lie over the others.
function reveal() {
  const row = main.querySelector(".row.chosen");
  if (!row) return;
  const panel = document.getElementById("panel").getBoundingClientRect();
  const { top, bottom, left } = row.getBoundingClientRect();
  const end = panel.left <= left ? panel.top : innerHeight;
  if (top < 30 || bottom > end) scrollBy(0, (top + bottom - end) / 2);
}

function choose(row, focus = true) {
  for (const link of main.querySelectorAll(LINKS)) {
    link.tabIndex = -1;
    delete link.dataset.js;
  }
  const link = row.querySelector("a.span, :is(th, td) a");
  if (!link) return;
  link.tabIndex = 0;
  link.dataset.js = "stop";
  if (focus) {
    link.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }
}

const current = () => {
  const row = document.activeElement.closest(ROWS);
  const link = row || main.querySelector(":is(ol.rows, .flows tbody) a[data-js]");
  return link && link.closest(ROWS);
};

function step(by) {
  const all = rows();
  const at = all.indexOf(current());
  const focused = document.activeElement.closest(ROWS);
  const next = all[Math.max(0, Math.min(all.length - 1, focused ? at + by : Math.max(at, 0)))];
  if (next) choose(next);
}

function sideways(right) {
  const row = current();
  if (!row) return;
  const fold = row.querySelector(".fold");
  const isOpen = fold && fold.getAttribute("aria-expanded") === "true";
  if (fold && right !== isOpen) return void go(fold.href, "replace");
  if (right) return void step(1);
  const level = Number(row.getAttribute("aria-level"));
  const all = rows();
  for (let at = all.indexOf(row) - 1; at >= 0; at--) {
    if (Number(all[at].getAttribute("aria-level")) < level) return void choose(all[at]);
  }
}

const FAILED = "li.row.failed, details.failing:not([open]), a.further.failing, .flows tbody tr:has(a):has(.failed)";

// The next error, in a trace that is closed and beyond the last row too.
async function nextError(by) {
  const stops = [...main.querySelectorAll(FAILED)].filter((stop) => stop.checkVisibility());
  if (by < 0) stops.reverse();
  const here = current();
  const isAfter = (stop) => {
    const where = here.compareDocumentPosition(stop);
    return by > 0 ? where & Node.DOCUMENT_POSITION_FOLLOWING : where & Node.DOCUMENT_POSITION_PRECEDING;
  };
  const unvisited = here && !document.activeElement.closest(ROWS) && here.matches(FAILED);
  const next = (unvisited ? here : here && stops.find((stop) => stop !== here && isAfter(stop))) || stops[0];
  if (!next) return;
  if (next.matches(ROWS)) return void choose(next);
  if (next.matches("details")) {
    const closed = next.querySelector(":scope > .tools > .closed");
    const url = new URL(location.href);
    const open = (url.searchParams.get("open") || "").split(",").filter(Boolean);
    url.searchParams.set("open", [...open, next.dataset.key].join(","));
    if (closed) await go(url.href, "replace");
    touched.add(next);
    next.open = true;
    const failed = next.querySelectorAll("li.row.failed");
    if (failed.length) choose(failed[by > 0 ? 0 : failed.length - 1]);
    return;
  }
  await go(next.href, "replace");
  nextError(by);
}

// --- Keys ------------------------------------------------------------------------------------------------------

const help = document.getElementById("help");
const keys = {
  "/": () => {
    const field = document.getElementById("q");
    if (field) field.select();
  },
  "?": () => help.showModal(),
  ArrowDown: () => step(1),
  j: () => step(1),
  ArrowUp: () => step(-1),
  k: () => step(-1),
  ArrowRight: () => sideways(true),
  ArrowLeft: () => sideways(false),
  Home: () => rows().length && choose(rows()[0]),
  End: () => rows().length && choose(rows().at(-1)),
  e: () => nextError(1),
  E: () => nextError(-1),
  p: () => live && pause(),
  z: async () => {
    const row = current();
    if (!row || !row.matches("li.row")) return;
    await details(row.querySelector("a.span"));
    const zoom = document.getElementById("zoom");
    if (zoom) go(zoom.href, "push");
  },
  0: () => {
    const whole = document.getElementById("whole");
    if (whole) go(whole.href, "push");
  },
  Escape: close,
};

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  const typing = event.target.closest("input, select, textarea");
  if (typing) {
    if (event.key === "Escape") typing.blur();
    return;
  }
  const inRows = event.target.closest(ROWS) || event.target === document.body || event.target === main;
  const moves = event.key.startsWith("Arrow") || event.key === "Home" || event.key === "End";
  // Where there are no rows, or none that fold, the keys that move scroll, as ever.
  const sideward = event.key === "ArrowLeft" || event.key === "ArrowRight";
  if (moves && (!inRows || !main.querySelector(sideward ? "ol.rows a" : LINKS))) return;
  const action = Object.hasOwn(keys, event.key) ? keys[event.key] : null;
  if (!action) return;
  event.preventDefault();
  action();
});

document.getElementById("keys").addEventListener("click", () => help.showModal());

// --- Zoom: a drag over the ruler -------------------------------------------------------------------------------

let drag = null;

document.addEventListener("pointerdown", (event) => {
  const ruler = event.target.closest(".ruler[data-to]");
  if (!ruler || event.button) return;
  const line = ruler.querySelector(".line");
  const box = line.getBoundingClientRect();
  if (event.clientX < box.left || event.clientX > box.right) return;
  const veil = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  veil.setAttribute("class", "veil");
  veil.setAttribute("height", "100%");
  line.append(veil);
  drag = { ruler, box, veil, from: event.clientX, to: event.clientX };
  event.preventDefault();
});

document.addEventListener("pointermove", (event) => {
  if (!drag) return;
  drag.to = Math.max(drag.box.left, Math.min(drag.box.right, event.clientX));
  drag.veil.setAttribute("x", Math.min(drag.from, drag.to) - drag.box.left);
  drag.veil.setAttribute("width", Math.abs(drag.to - drag.from));
});

document.addEventListener("pointerup", () => {
  if (!drag) return;
  const { ruler, box, veil, from, to } = drag;
  drag = null;
  veil.remove();
  if (Math.abs(to - from) < 4) return;
  const [start, end] = [Number(ruler.dataset.from), Number(ruler.dataset.to)];
  const at = (x) => String(Number(((start + ((x - box.left) / box.width) * (end - start)) / 1e6).toFixed(6)));
  const url = new URL(location.href);
  url.searchParams.set("trace", ruler.closest(".trace").dataset.key);
  url.searchParams.delete("open");
  url.searchParams.set("from", at(Math.min(from, to)));
  url.searchParams.set("to", at(Math.max(from, to)));
  go(url.href, "push");
});

settle();
reveal();
if (paused) say("Paused");
listen();
