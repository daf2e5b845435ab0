// A folder as a grid that draws only the rows in sight: sort, filter, keyboard, many at once.
// The page works without this file; the server decides again about everything that is asked here.
import { toast, choose, ask } from "./disk_dialogs.js";

const form = document.querySelector("[data-disk]");
const words = JSON.parse(form.dataset.words);
const share = form.dataset.share;
const rights = new Set(form.dataset.rights.trim().split(/\s+/));
const api = `/api/v1/disk/${encodeURIComponent(share)}`;
const ROW = matchMedia("(max-width: 40rem)").matches ? 56 : 44; // pixels; a finger needs more
const AHEAD = 8; // rows drawn beyond the edge

const collator = new Intl.Collator(document.documentElement.lang, { numeric: true, sensitivity: "base" });
const size = new Intl.NumberFormat(document.documentElement.lang, { maximumSignificantDigits: 3 });
const date = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "short", timeStyle: "short" });
const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
const UNITS = document.documentElement.lang === "fr" ? ["o", "ko", "Mo", "Go", "To"] : ["B", "kB", "MB", "GB", "TB"];
function sized(bytes) {
  let unit = 0;
  while (bytes >= 1000 && unit < 4) { bytes /= 1000; unit += 1; }
  return `${size.format(bytes)} ${UNITS[unit]}`;
}
const utf8 = new TextEncoder();
function pack(bytes) {
  let text = "";
  for (const each of bytes) text += String.fromCharCode(each);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
function unpack(text) {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (each) => each.charCodeAt(0));
}

// --- what the folder holds ------------------------------------------------------------------

let folder = form.dataset.folder;
let held = { n: [], k: "", s: [], m: [], raw: {} };
let plainNames = [];
let order = []; // places in `held`, as shown
let sorted = { by: "name", down: false };
let wanted = "";
const picked = new Set(); // places in `held`
let cursor = 0; // place in `order`
let anchor = 0;

function pathOf(place, within = folder) {
  const name = place in held.raw ? unpack(held.raw[place]) : utf8.encode(held.n[place]);
  if (!within) return pack(name);
  const above = unpack(within);
  const whole = new Uint8Array(above.length + 1 + name.length);
  whole.set(above); whole[above.length] = 47; whole.set(name, above.length + 1);
  return pack(whole);
}

async function call(address, body) {
  let answer;
  try {
    answer = await fetch(address, body === undefined ? {} : {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
    });
  } catch { throw new Error(words.lost); }
  if (answer.status === 401) { location.reload(); throw new Error(words.lost); }
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(found.error?.message ?? words.lost);
  return found;
}

async function load() {
  const found = await call(`${api}/list?p=${folder}`);
  const keep = new Set([...picked].map((place) => held.n[place]));
  const at = order.length ? held.n[order[cursor]] : null;
  held = found;
  plainNames = held.n.map(plain);
  picked.clear();
  held.n.forEach((name, place) => { if (keep.has(name)) picked.add(place); });
  arrange();
  const again = order.findIndex((place) => held.n[place] === at);
  cursor = anchor = Math.max(0, again);
  draw(true);
}

function arrange() {
  const all = held.n.map((_, place) => place);
  const sought = plain(wanted).split(/\s+/).filter(Boolean);
  order = sought.length ? all.filter((place) => sought.every((each) => plainNames[place].includes(each))) : all;
  const sign = sorted.down ? -1 : 1;
  if (sorted.by !== "name" || sorted.down) {
    order.sort((a, b) => {
      const folders = (held.k[b] === "d") - (held.k[a] === "d");
      if (folders) return folders;
      if (sorted.by === "size") return sign * (held.s[a] - held.s[b]) || a - b;
      if (sorted.by === "changed") return sign * (held.m[a] - held.m[b]) || a - b;
      return sign * (collator.compare(held.n[a], held.n[b]) || a - b);
    });
  }
  cursor = Math.min(cursor, Math.max(0, order.length - 1));
}

// --- the grid -------------------------------------------------------------------------------

function element(tag, css, ...inside) {
  const made = document.createElement(tag);
  if (css) made.className = css;
  made.append(...inside);
  return made;
}

const bar = element("div", "row disk-bar");
const filter = element("input");
filter.type = "search"; filter.placeholder = words.filter; filter.setAttribute("aria-label", words.filter);
const said = element("span", "soft"); said.setAttribute("aria-live", "polite");
bar.append(filter, said);

const grid = element("div", "grid");
grid.setAttribute("role", "grid"); grid.setAttribute("aria-multiselectable", "true"); grid.tabIndex = 0;
grid.setAttribute("aria-label", document.querySelector("h1").textContent);
const head = element("div", "grid-head"); head.setAttribute("role", "row"); head.setAttribute("aria-rowindex", "1");
for (const by of ["name", "size", "changed"]) {
  const cell = element("div", `cell ${by}`); cell.setAttribute("role", "columnheader");
  const button = element("button", "plain small", words[by]); button.type = "button"; button.tabIndex = -1;
  button.addEventListener("click", () => {
    sorted = { by, down: sorted.by === by ? !sorted.down : by !== "name" };
    const at = order[cursor];
    arrange(); cursor = Math.max(0, order.indexOf(at)); draw(true);
  });
  cell.append(button); head.append(cell);
}
const window_ = element("div", "grid-window");
const sheet = element("div", "grid-sheet");
sheet.setAttribute("role", "rowgroup");
window_.append(sheet); grid.append(head, window_);
const empty = element("p", "soft");
const drawn = new Map(); // place in `order` → row

const ICONS = {};
for (const icon of form.querySelectorAll("svg.kind")) {
  const kind = icon.classList.contains("folder") ? "d" : "f";
  ICONS[kind] ??= icon.cloneNode(true);
}

function row(index) {
  const place = order[index];
  const kind = held.k[place];
  const made = element("div", "grid-row"); made.id = `row-${index}`;
  made.setAttribute("role", "row"); made.setAttribute("aria-rowindex", index + 2);
  made.style.top = `${index * ROW}px`; made.style.height = `${ROW}px`;
  const name = element("div", "cell name"); name.setAttribute("role", "gridcell");
  const icon = ICONS[kind] ?? ICONS.f;
  if (icon) name.append(icon.cloneNode(true));
  if (kind === "d" || kind === "f") {
    const link = element("a", "", held.n[place]); link.tabIndex = -1;
    link.href = kind === "d" ? `/disk/${share}?p=${pathOf(place)}` : `/disk/${share}/file?p=${pathOf(place)}`;
    name.append(link);
  } else name.append(held.n[place]);
  const bytes = element("div", "cell size", kind === "f" ? sized(held.s[place]) : "");
  const changed = element("div", "cell changed", date.format(held.m[place]));
  for (const cell of [bytes, changed]) cell.setAttribute("role", "gridcell");
  made.append(name, bytes, changed);
  made.draggable = rights.has("change");
  return made;
}

function mark(index, made) {
  const is = picked.has(order[index]);
  made.setAttribute("aria-selected", is);
  made.classList.toggle("picked", is);
  made.classList.toggle("cursor", index === cursor);
}

function draw(anew = false) {
  if (anew) { for (const made of drawn.values()) made.remove(); drawn.clear(); }
  sheet.style.height = `${order.length * ROW}px`;
  grid.setAttribute("aria-rowcount", order.length + 1);
  const first = Math.max(0, Math.floor(window_.scrollTop / ROW) - AHEAD);
  const last = Math.min(order.length, Math.ceil((window_.scrollTop + window_.clientHeight) / ROW) + AHEAD);
  for (const [index, made] of drawn) if (index < first || index >= last) { made.remove(); drawn.delete(index); }
  const fresh = document.createDocumentFragment();
  for (let index = first; index < last; index += 1) {
    let made = drawn.get(index);
    if (!made) { made = row(index); drawn.set(index, made); fresh.append(made); }
    mark(index, made);
  }
  sheet.append(fresh);
  if (order.length && drawn.has(cursor)) grid.setAttribute("aria-activedescendant", `row-${cursor}`);
  else grid.removeAttribute("aria-activedescendant");
  empty.textContent = order.length ? "" : wanted ? words.nothing : words.empty;
  empty.hidden = order.length > 0; grid.hidden = held.n.length === 0;
  const count = words.entries.replace("#", order.length.toLocaleString(document.documentElement.lang));
  said.textContent = picked.size ? `${count} · ${words.picked.replace("#", picked.size)}` : count;
  for (const cell of head.children) {
    const by = ["name", "size", "changed"].find((each) => cell.classList.contains(each));
    cell.setAttribute("aria-sort", sorted.by === by ? (sorted.down ? "descending" : "ascending") : "none");
  }
  tools();
}

function show(index) {
  const top = index * ROW;
  if (top < window_.scrollTop) window_.scrollTop = top;
  else if (top + ROW > window_.scrollTop + window_.clientHeight) window_.scrollTop = top + ROW - window_.clientHeight;
}

// --- choosing -------------------------------------------------------------------------------

function pick(index, { add = false, range = false } = {}) {
  if (!order.length) return;
  cursor = Math.max(0, Math.min(order.length - 1, index));
  if (range) {
    if (!add) picked.clear();
    const [from, to] = [Math.min(anchor, cursor), Math.max(anchor, cursor)];
    for (let each = from; each <= to; each += 1) picked.add(order[each]);
  } else if (add) {
    const place = order[cursor];
    if (!picked.delete(place)) picked.add(place);
    anchor = cursor;
  } else {
    picked.clear(); picked.add(order[cursor]); anchor = cursor;
  }
  show(cursor); draw();
}

const chosen = () => (picked.size ? [...picked] : order.length ? [order[cursor]] : []).sort((a, b) => a - b);
const rowAt = (event) => {
  const made = event.target.closest?.(".grid-row");
  return made ? Number(made.id.slice(4)) : -1;
};

let touch = false;
sheet.addEventListener("pointerdown", (event) => { touch = event.pointerType !== "mouse"; });
sheet.addEventListener("click", (event) => {
  const index = rowAt(event);
  if (index < 0) return;
  if (event.target.closest("a")) {
    if (held.k[order[index]] === "f" && !event.ctrlKey && !event.metaKey && !event.shiftKey) { event.preventDefault(); open(index); }
    return;
  }
  pick(index, { add: event.ctrlKey || event.metaKey || touch, range: event.shiftKey });
  grid.focus({ preventScroll: true });
});
sheet.addEventListener("dblclick", (event) => { if (rowAt(event) >= 0) open(rowAt(event)); });
window_.addEventListener("scroll", () => draw(), { passive: true });
addEventListener("resize", () => draw());

let filtering;
filter.addEventListener("input", () => {
  clearTimeout(filtering);
  filtering = setTimeout(() => { wanted = filter.value; cursor = 0; arrange(); window_.scrollTop = 0; draw(true); }, 60);
});
filter.addEventListener("keydown", (event) => {
  if (event.key === "Enter" || event.key === "ArrowDown") { event.preventDefault(); grid.focus(); pick(0); }
  if (event.key === "Escape" && filter.value) { event.preventDefault(); filter.value = ""; filter.dispatchEvent(new Event("input")); }
});

let typed = "", typedAt = 0;
grid.addEventListener("keydown", (event) => {
  const page = Math.max(1, Math.floor(window_.clientHeight / ROW) - 1);
  const steps = { ArrowDown: cursor + 1, ArrowUp: cursor - 1, PageDown: cursor + page, PageUp: cursor - page, Home: 0, End: order.length - 1 };
  const control = event.ctrlKey || event.metaKey;
  if (event.key in steps && !event.altKey) {
    event.preventDefault();
    if (control) { cursor = Math.max(0, Math.min(order.length - 1, steps[event.key])); show(cursor); draw(); }
    else pick(steps[event.key], { range: event.shiftKey });
  } else if (event.key === " ") { event.preventDefault(); pick(cursor, { add: true }); }
  else if (event.key === "Enter") { event.preventDefault(); open(cursor); }
  else if (event.key === "Backspace" || (event.altKey && event.key === "ArrowUp")) { event.preventDefault(); up(); }
  else if (event.key === "Delete") { event.preventDefault(); remove(); }
  else if (event.key === "F2") { event.preventDefault(); rename(); }
  else if (control && event.key.toLowerCase() === "a") {
    event.preventDefault(); for (const place of order) picked.add(place); draw();
  } else if (event.key === "Escape") { picked.clear(); draw(); }
  else if (event.key === "/" || (control && event.key.toLowerCase() === "f")) { event.preventDefault(); filter.focus(); }
  else if (event.key.length === 1 && !control && !event.altKey) {
    const now = Date.now();
    typed = (now - typedAt < 900 ? typed : "") + plain(event.key); typedAt = now;
    const found = order.findIndex((place) => plainNames[place].startsWith(typed));
    if (found >= 0) pick(found);
  }
});

// --- doing ----------------------------------------------------------------------------------

// The files as they are shown now: a preview turns from one to the next.
const nearby = () => order.filter((place) => held.k[place] === "f")
  .map((place) => ({ share, path: pathOf(place), name: held.n[place] }));

function open(index) {
  const place = order[index];
  const kind = held.k[place];
  if (kind === "d") location.href = `/disk/${share}?p=${pathOf(place)}`;
  else if (kind === "f") {
    const asked = new CustomEvent("disk:open", { cancelable: true, bubbles: true,
      detail: { share, path: pathOf(place), name: held.n[place], size: held.s[place], files: nearby } });
    if (form.dispatchEvent(asked)) location.href = `/disk/${share}/file?p=${pathOf(place)}`;
  }
}

function up() {
  if (!folder) { location.href = "/disk"; return; }
  const whole = unpack(folder);
  const cut = whole.lastIndexOf(47);
  location.href = `/disk/${share}?p=${cut < 0 ? "" : pack(whole.slice(0, cut))}`;
}

async function many(verb, body, items) {
  bar.classList.add("busy"); said.textContent = words.working;
  try {
    const { done } = await call(`${api}/${verb}`, { ...body, items });
    const wrong = done.filter((each) => each.code);
    await load();
    return { done: done.filter((each) => !each.code), wrong };
  } catch (error) {
    toast(error.message, { grave: true });
    await load().catch(() => {});
    return null;
  } finally { bar.classList.remove("busy"); }
}

function tell(result, text) {
  if (!result) return;
  if (result.wrong.length) {
    toast(`${words.failed.replace("#", result.wrong.length)} ${result.wrong[0].message}`, { grave: true });
  } else if (text) toast(text.replace("#", result.done.length));
}

async function remove() {
  if (!rights.has("delete")) return;
  const items = chosen().map((place) => pathOf(place));
  if (!items.length) return;
  picked.clear();
  const result = await many("delete", {}, items);
  if (!result) return;
  if (result.wrong.length) tell(result);
  if (result.done.length) {
    toast(words.deleted.replace("#", result.done.length), { action: words.undo, act: async () => {
      for (const each of result.done) await call(`${api}/bin/${each.bin_id}/put-back`, {}).catch((error) => toast(error.message, { grave: true }));
      await load();
    } });
  }
}

async function rename() {
  if (!rights.has("change") || !order.length) return;
  const place = chosen()[0];
  const name = await ask(words.rename, words.new_name, held.n[place], words);
  if (!name || name === held.n[place]) return;
  tell(await many("move", { folder, new_name: name }, [pathOf(place)]));
}

async function carry(verb) {
  const items = chosen().map((place) => pathOf(place));
  if (!items.length) return;
  const to = await choose(verb === "move" ? words.move : words.copy, api, folder, words);
  if (to === null) return;
  tell(await many(verb, { folder: to }, items), words.done);
}

function download() {
  const places = chosen();
  if (places.length === 1 && held.k[places[0]] === "f") { location.href = `/disk/${share}/file?p=${pathOf(places[0])}`; return; }
  const made = element("form"); made.method = "post"; made.action = `/disk/${share}/zip`; made.hidden = true;
  for (const place of places) {
    const field = element("input"); field.name = "p"; field.value = pathOf(place); made.append(field);
  }
  document.body.append(made); made.submit(); made.remove();
}

const strip = element("div", "sticky row"); strip.setAttribute("role", "toolbar"); strip.setAttribute("aria-label", words.actions);
const ACTIONS = [
  ["download", download, () => true],
  ["rename", rename, () => rights.has("change") && picked.size === 1],
  ["move", () => carry("move"), () => rights.has("change")],
  ["copy", () => carry("copy"), () => rights.has("add")],
  ["versions", () => { location.href = `/disk/${share}/versions?p=${pathOf(chosen()[0])}`; }, () => picked.size === 1],
  ["delete", remove, () => rights.has("delete")],
];
const buttons = ACTIONS.map(([name, act]) => {
  const button = element("button", name === "delete" ? "small grave" : "small", words[name]);
  button.type = "button"; button.addEventListener("click", act); strip.append(button);
  return button;
});
function tools() {
  strip.hidden = picked.size === 0;
  ACTIONS.forEach(([, , may], place) => { buttons[place].hidden = !may(); });
}

// --- dragging into a folder -----------------------------------------------------------------

let dragged = [];
sheet.addEventListener("dragstart", (event) => {
  const index = rowAt(event);
  if (index < 0) return;
  if (!picked.has(order[index])) pick(index);
  dragged = chosen().map((place) => pathOf(place));
  event.dataTransfer.effectAllowed = "move";
  event.dataTransfer.setData("application/x-armoire", "1");
});
sheet.addEventListener("dragover", (event) => {
  const index = rowAt(event);
  const fits = dragged.length && index >= 0 && held.k[order[index]] === "d" && !picked.has(order[index]);
  for (const made of drawn.values()) made.classList.toggle("target", fits && made.id === `row-${index}`);
  if (fits) { event.preventDefault(); event.stopPropagation(); }
});
sheet.addEventListener("drop", async (event) => {
  const index = rowAt(event);
  if (!dragged.length || index < 0 || held.k[order[index]] !== "d") return;
  event.preventDefault(); event.stopPropagation();
  const items = dragged; dragged = [];
  tell(await many("move", { folder: pathOf(order[index]) }, items), words.done);
});
sheet.addEventListener("dragend", () => { dragged = []; });

// --- beginning ------------------------------------------------------------------------------

addEventListener("disk:changed", () => load().catch((error) => toast(error.message, { grave: true })));
try {
  await load();
  for (const old of form.querySelectorAll("[data-first]")) old.remove();
  form.append(bar, grid, empty, strip);
  draw(true);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.dataset.ready = "";
} catch (error) {
  toast(error.message, { grave: true }); // the first rows of the page stay
}
