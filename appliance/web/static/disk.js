// A folder as a grid that draws only the rows in sight: sort, filter, keyboard, many at once.
// The page works without this file; the server decides again about everything that is asked here.
import { menu, toast } from "./disk_dialogs.js";
import { actions, call } from "./disk_do.js";
import { above, button, bytesOf, dated, element, join, plain, shown, sized, unpack } from "./disk_text.js";

const form = document.querySelector("[data-disk]");
const words = JSON.parse(form.dataset.words);
const { share, folder } = form.dataset;
const rights = new Set(form.dataset.rights.trim().split(/\s+/));
const api = `/api/v1/disk/${encodeURIComponent(share)}`;
const ROW = matchMedia("(max-width: 40rem), (pointer: coarse)").matches ? 56 : 44; // pixels; a finger needs more
const AHEAD = 8; // rows drawn beyond the edge
const HELD_MS = 500; // a finger held so long asks for the menu
const collator = new Intl.Collator(document.documentElement.lang, { numeric: true, sensitivity: "base" });

// --- what the folder holds ------------------------------------------------------------------

let held = { n: [], k: "", s: [], m: [], raw: {} };
let plainNames = null; // made when somebody looks for one
const plains = () => (plainNames ??= held.n.map(plain));
let order = []; // places in `held`, as shown
let sorted = { by: "name", down: false };
let wanted = "";
const picked = new Set(); // places in `held`
let cursor = 0; // place in `order`
let anchor = 0;

const pathOf = (place) => join(folder, place in held.raw ? unpack(held.raw[place]) : bytesOf(held.n[place]));
const thing = (place) => ({ share, path: pathOf(place), name: held.n[place], kind: held.k[place], size: held.s[place], changed: held.m[place] });

async function fetched() {
  const found = await (await call(`${api}/list?p=${folder}`, undefined, words)).json();
  while (found.n.length < found.total) { // more than one answer holds
    const more = await (await call(`${api}/list?p=${folder}&first=${found.n.length}`, undefined, words)).json();
    if (!more.n.length) break;
    for (const [at, raw] of Object.entries(more.raw)) found.raw[found.n.length + Number(at)] = raw;
    found.n = found.n.concat(more.n); found.s = found.s.concat(more.s); found.m = found.m.concat(more.m); found.k += more.k;
  }
  return found;
}

async function load(toName) {
  const found = await fetched();
  const keep = new Set([...picked].map((place) => held.n[place]));
  const at = toName ?? (order.length ? held.n[order[cursor]] : null);
  held = found;
  plainNames = null;
  picked.clear();
  if (keep.size) held.n.forEach((name, place) => { if (keep.has(name)) picked.add(place); });
  arrange();
  cursor = anchor = Math.max(0, order.findIndex((place) => held.n[place] === at));
  draw(true);
  if (toName !== undefined) pick(cursor);
}

function arrange() {
  const all = held.n.map((_, place) => place);
  const sought = plain(wanted).split(/\s+/).filter(Boolean);
  order = sought.length ? all.filter((place) => sought.every((each) => plains()[place].includes(each))) : all;
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

const bar = element("div", "row disk-bar");
const filter = element("input");
filter.type = "search"; filter.placeholder = words.filter; filter.setAttribute("aria-label", words.filter);
const said = element("span", "soft"); said.setAttribute("aria-live", "polite");
bar.append(filter, said);

const grid = element("div", "grid");
grid.setAttribute("role", "grid"); grid.setAttribute("aria-multiselectable", "true"); grid.tabIndex = 0;
grid.setAttribute("aria-label", document.querySelector("h1").textContent);
const head = element("div", "grid-head"); head.setAttribute("role", "row"); head.setAttribute("aria-rowindex", "1");
const all = element("input"); all.type = "checkbox"; all.tabIndex = -1; all.setAttribute("aria-label", words.select_all);
all.addEventListener("change", () => { picked.clear(); if (all.checked) for (const place of order) picked.add(place); draw(); });
const allCell = element("div", "cell tick", all); allCell.setAttribute("role", "columnheader");
head.append(allCell);
for (const by of ["name", "size", "changed"]) {
  const cell = element("div", `cell ${by}`); cell.setAttribute("role", "columnheader");
  const sorter = button(words[by], "plain small", () => {
    sorted = { by, down: sorted.by === by ? !sorted.down : by !== "name" };
    const at = order[cursor];
    arrange(); cursor = Math.max(0, order.indexOf(at)); draw(true);
  });
  sorter.tabIndex = -1; cell.append(sorter); head.append(cell);
}
const last = element("div", "cell more", element("span", "unseen", words.actions)); last.setAttribute("role", "columnheader"); head.append(last);
const window_ = element("div", "grid-window");
const sheet = element("div", "grid-sheet");
sheet.setAttribute("role", "rowgroup");
window_.append(sheet); grid.append(head, window_);
const empty = element("p", "soft");
const drawn = new Map(); // place in `order` → row

const ICONS = {};
for (const icon of document.querySelectorAll("[data-icons] svg")) ICONS[icon.parentElement.dataset.kind] = icon;

function row(index) {
  const place = order[index];
  const kind = held.k[place];
  const made = element("div", "grid-row"); made.id = `row-${index}`;
  made.setAttribute("role", "row"); made.setAttribute("aria-rowindex", index + 2);
  made.style.top = `${index * ROW}px`; made.style.height = `${ROW}px`;
  const tick = element("div", "cell tick", element("span", "box"));
  const name = element("div", "cell name");
  name.append((ICONS[kind] ?? ICONS.f).cloneNode(true));
  const text = element("bdi", "", shown(held.n[place]));
  if (kind === "d" || kind === "f") {
    const link = element("a", "", text); link.tabIndex = -1; link.draggable = false;
    link.href = kind === "d" ? `/disk/${share}?p=${pathOf(place)}` : `/disk/${share}/file?p=${pathOf(place)}`;
    name.append(link);
  } else name.append(text, " ", element("small", "", words[`kind_${kind}`]));
  name.title = shown(held.n[place]);
  const bytes = element("div", "cell size", kind === "f" ? sized(held.s[place]) : "");
  const changed = element("div", "cell changed", dated(held.m[place]));
  const more = element("div", "cell more", element("span", "dots", "⋮")); more.setAttribute("aria-label", words.actions);
  for (const cell of [tick, name, bytes, changed, more]) cell.setAttribute("role", "gridcell");
  made.append(tick, name, bytes, changed, more);
  made.draggable = rights.has("change") || rights.has("add");
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
  window_.style.height = `min(70vh, ${Math.max(3, order.length) * ROW + 2}px)`;
  grid.setAttribute("aria-rowcount", order.length + 1);
  const first = Math.max(0, Math.floor(window_.scrollTop / ROW) - AHEAD);
  const end = Math.min(order.length, Math.ceil((window_.scrollTop + window_.clientHeight) / ROW) + AHEAD);
  for (const [index, made] of drawn) if (index < first || index >= end) { made.remove(); drawn.delete(index); }
  const fresh = document.createDocumentFragment();
  for (let index = first; index < end; index += 1) {
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
  all.checked = picked.size > 0 && picked.size >= order.length; all.indeterminate = picked.size > 0 && !all.checked;
  for (const cell of head.children) {
    const by = ["name", "size", "changed"].find((each) => cell.classList.contains(each));
    if (by) cell.setAttribute("aria-sort", sorted.by === by ? (sorted.down ? "descending" : "ascending") : "none");
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
    if (!picked.delete(order[cursor])) picked.add(order[cursor]);
    anchor = cursor;
  } else {
    picked.clear(); picked.add(order[cursor]); anchor = cursor;
  }
  show(cursor); draw();
}

const places = () => (picked.size ? [...picked] : order.length ? [order[cursor]] : []).sort((a, b) => a - b);
const rowAt = (event) => {
  const made = event.target.closest?.(".grid-row");
  return made ? Number(made.id.slice(4)) : -1;
};

const act = actions({
  share, folder, api, rights, words, isOverSmb: "smb" in form.dataset,
  chosen: () => places().map(thing), load, busy: (is) => bar.classList.toggle("busy", is),
});

let touch = false, holding, wasHeld = false;
sheet.addEventListener("pointerdown", (event) => {
  touch = event.pointerType !== "mouse"; wasHeld = false;
  clearTimeout(holding);
  if (touch) holding = setTimeout(() => { wasHeld = true; offer(rowAt(event), event.clientX, event.clientY); }, HELD_MS);
});
for (const kind of ["pointerup", "pointercancel", "pointermove"]) {
  sheet.addEventListener(kind, (event) => { if (kind !== "pointermove" || Math.abs(event.movementX) + Math.abs(event.movementY) > 6) clearTimeout(holding); });
}
window_.addEventListener("scroll", () => { clearTimeout(holding); draw(); }, { passive: true });
sheet.addEventListener("click", (event) => {
  const index = rowAt(event);
  if (index < 0) return;
  if (wasHeld) { event.preventDefault(); return; }
  if (event.target.closest(".more")) { offer(index, event.clientX, event.clientY); return; }
  if (event.target.closest("a")) {
    if (event.ctrlKey || event.metaKey || event.shiftKey || held.k[order[index]] !== "f") return;
    event.preventDefault(); cursor = anchor = index; draw(); open(index); return;
  }
  pick(index, { add: event.ctrlKey || event.metaKey || touch || Boolean(event.target.closest(".tick")), range: event.shiftKey });
  grid.focus({ preventScroll: true });
});
sheet.addEventListener("dblclick", (event) => { if (!event.target.closest(".tick, .more") && rowAt(event) >= 0) open(rowAt(event)); });
addEventListener("resize", () => draw());

// --- the menu -------------------------------------------------------------------------------

const MENU = [
  ["open", () => open(cursor), () => picked.size === 1],
  ["download", () => act.download(), () => true],
  ["rename", () => act.rename(), () => rights.has("change") && picked.size === 1],
  ["move", () => act.carry("move"), () => rights.has("change")],
  ["copy", () => act.carry("copy"), () => rights.has("add")],
  ["versions", () => act.versions(), () => picked.size === 1],
  ["case_copy", () => act.caseCopy(), () => rights.has("case-copy")],
  ["share_out", () => act.shareOut(), () => rights.has("share-out") && picked.size === 1],
  ["details", () => act.details(), () => picked.size === 1],
  ["delete", () => act.remove(), () => rights.has("delete")],
];
function offer(index, x, y) {
  if (index < 0) return;
  if (picked.has(order[index])) { cursor = index; draw(); } else pick(index);
  const entries = MENU.filter(([, , may]) => may()).map(([name, does]) => ({ text: words[name], act: does, grave: name === "delete" }));
  menu(words.actions, entries, x, y, grid);
}
function offerAtCursor() {
  const box = drawn.get(cursor)?.getBoundingClientRect();
  if (box) offer(cursor, box.left + 48, box.bottom);
}
sheet.addEventListener("contextmenu", (event) => {
  if (rowAt(event) < 0) return;
  event.preventDefault();
  if (!touch) offer(rowAt(event), event.clientX, event.clientY);
});

// --- typing ---------------------------------------------------------------------------------

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
  const keys = {
    Enter: () => open(cursor), Backspace: up, Delete: () => act.remove(), F2: () => act.rename(), " ": () => pick(cursor, { add: true }),
    ContextMenu: offerAtCursor, Escape: () => { picked.clear(); draw(); }, "/": () => filter.focus(),
  };
  if (event.altKey && event.key === "Enter") { event.preventDefault(); act.details(); }
  else if (event.altKey && event.key === "ArrowUp") { event.preventDefault(); up(); }
  else if (event.shiftKey && event.key === "F10") { event.preventDefault(); offerAtCursor(); }
  else if (event.key in steps && !event.altKey) {
    event.preventDefault();
    if (control) { cursor = Math.max(0, Math.min(order.length - 1, steps[event.key])); show(cursor); draw(); }
    else pick(steps[event.key], { range: event.shiftKey });
  } else if (event.key in keys && !(control && event.key !== " ")) { event.preventDefault(); keys[event.key](); }
  else if (control && event.key.toLowerCase() === "a") { event.preventDefault(); for (const place of order) picked.add(place); draw(); }
  else if (control && event.key.toLowerCase() === "f") { event.preventDefault(); filter.focus(); }
  else if (event.key.length === 1 && !control && !event.altKey) {
    const now = Date.now();
    typed = (now - typedAt < 900 ? typed : "") + plain(event.key); typedAt = now;
    const found = order.findIndex((place) => plains()[place].startsWith(typed));
    if (found >= 0) pick(found);
  }
});

function open(index) {
  const place = order[index];
  if (place === undefined) return;
  if (held.k[place] === "d") location.href = `/disk/${share}?p=${pathOf(place)}`;
  else if (held.k[place] === "f") {
    // Whoever shows files in the page listens; `files` gives those around it.
    const files = () => order.filter((each) => held.k[each] === "f").map(thing);
    const asked = new CustomEvent("disk:open", { cancelable: true, bubbles: true, detail: { ...thing(place), files } });
    if (form.dispatchEvent(asked)) location.href = `/disk/${share}/file?p=${pathOf(place)}`;
  }
}
function up() { location.href = folder ? `/disk/${share}?p=${above(folder)}` : "/disk"; }

// --- the bar of actions ---------------------------------------------------------------------

const strip = element("div", "sticky row strip"); strip.setAttribute("role", "toolbar"); strip.setAttribute("aria-label", words.actions);
const buttons = MENU.filter(([name]) => ["download", "rename", "move", "copy", "delete"].includes(name)).map(([name, does, may]) => {
  const made = button(words[name], `small do-${name}${name === "delete" ? " grave" : ""}`, does);
  strip.append(made);
  return [made, may];
});
const more = button(words.more, "small do-more", () => { const box = more.getBoundingClientRect(); cursor = Math.max(0, order.indexOf(places()[0])); offer(cursor, box.left, box.top - 320); });
strip.append(more);
function tools() {
  strip.hidden = picked.size === 0;
  for (const [made, may] of buttons) made.hidden = !may();
}
if (rights.has("add")) bar.append(button(words.new_folder, "small push", () => act.makeFolder()));

// --- dragging into a folder, here or above --------------------------------------------------

let dragged = [];
const targets = [...document.querySelectorAll(".crumbs a[data-path]")].filter((each) => each.dataset.path !== folder);
sheet.addEventListener("dragstart", (event) => {
  const index = rowAt(event);
  if (index < 0) return;
  if (!picked.has(order[index])) pick(index);
  dragged = places().map((place) => pathOf(place));
  event.dataTransfer.effectAllowed = "copyMove";
  event.dataTransfer.setData("application/x-armoire", "1");
});
const isCopy = (event) => event.ctrlKey || event.altKey || !rights.has("change");
function over(event, fits) {
  if (!fits) return;
  event.preventDefault(); event.stopPropagation();
  event.dataTransfer.dropEffect = isCopy(event) ? "copy" : "move";
}
sheet.addEventListener("dragover", (event) => {
  const index = rowAt(event);
  const fits = dragged.length > 0 && index >= 0 && held.k[order[index]] === "d" && !picked.has(order[index]);
  for (const made of drawn.values()) made.classList.toggle("target", fits && made.id === `row-${index}`);
  over(event, fits);
});
sheet.addEventListener("drop", (event) => {
  const index = rowAt(event);
  if (!dragged.length || index < 0 || held.k[order[index]] !== "d" || picked.has(order[index])) return;
  event.preventDefault(); event.stopPropagation();
  const items = dragged; dragged = [];
  act.drop(items, pathOf(order[index]), isCopy(event));
});
for (const crumb of targets) {
  crumb.addEventListener("dragover", (event) => { crumb.classList.toggle("target", dragged.length > 0); over(event, dragged.length > 0); });
  crumb.addEventListener("dragleave", () => crumb.classList.remove("target"));
  crumb.addEventListener("drop", (event) => {
    if (!dragged.length) return;
    event.preventDefault(); event.stopPropagation(); crumb.classList.remove("target");
    const items = dragged; dragged = [];
    act.drop(items, crumb.dataset.path, isCopy(event));
  });
}
sheet.addEventListener("dragend", () => { dragged = []; for (const made of drawn.values()) made.classList.remove("target"); });

// --- beginning ------------------------------------------------------------------------------

addEventListener("disk:changed", () => load().catch((error) => toast(error.message, { grave: true })));
try {
  await load();
  for (const old of document.querySelectorAll("[data-first]")) old.remove();
  form.append(bar, grid, empty, strip);
  draw(true);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.dataset.ready = "";
} catch (error) {
  toast(error.message, { grave: true }); // the first rows of the page stay
}
