// Sending files from the page: buttons, dropping, pasting, a phone's camera. Without this file a plain form is there.
import { Sender } from "./upload_sender.js";

const section = document.querySelector("[data-upload]");
const told = section.querySelector("[data-upload-words]");
const words = JSON.parse(told.dataset.uploadWords);
const { api, library } = told.dataset;
const folder = section.dataset.folder ?? "";
const mayReplace = "mayReplace" in told.dataset;
const isGuest = "guest" in told.dataset; // a correspondent: sees nothing of what is there
const language = document.documentElement.lang;
const JUNK = new Set([".DS_Store", "Thumbs.db", "desktop.ini", "ehthumbs.db"]);
const MOST_SHOWN = 50;

const figure = new Intl.NumberFormat(language, { maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat(language);
const UNITS = language === "fr" ? ["o", "ko", "Mo", "Go", "To"] : ["B", "kB", "MB", "GB", "TB"];
function sized(bytes) {
  let unit = 0;
  while (bytes >= 1000 && unit < 4) { bytes /= 1000; unit += 1; }
  return `${figure.format(bytes)}\u00a0${UNITS[unit]}`;
}
function lasting(seconds) {
  const [value, unit] = seconds < 90 ? [Math.max(1, Math.round(seconds)), "second"]
    : seconds < 5400 ? [Math.round(seconds / 60), "minute"] : [Math.round(seconds / 360) / 10, "hour"];
  return new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "long" }).format(value);
}
const fill = (text, ...values) => { let place = 0; return text.replace(/#/g, () => values[place++]); };

function element(tag, css, ...inside) {
  const made = document.createElement(tag);
  if (css) made.className = css;
  made.append(...inside);
  return made;
}
function button(text, css, act) {
  const made = element("button", css, text);
  made.type = "button"; made.addEventListener("click", act);
  return made;
}

// --- what is to be seen ---------------------------------------------------------------------

const title = element("p", "sending-title");
const bar = element("progress"); bar.max = 1; bar.setAttribute("aria-label", words.progress);
const detail = element("p", "soft");
const spoken = element("p", "unseen"); spoken.setAttribute("role", "status"); spoken.setAttribute("aria-live", "polite");
const cancel = button(words.cancel, "small grave", () => sender.cancel());
const goOn = button(words.go_on, "small main", () => sender.go());
const close = button(words.close, "small", () => { panel.hidden = true; reset(); });
const problems = element("ul", "sending-problems");
const panel = element("section", "card sending", title, bar, detail, element("p", "row", goOn, cancel, close), problems);
panel.setAttribute("aria-label", words.progress); panel.hidden = true;
section.after(panel, spoken);

const knows = async (items) => {
  const { taken } = await asked("clashes", { folder, paths: items.map((each) => each.path) });
  const by = new Map(taken.map((each) => [each.path, each]));
  return new Set(items.filter((each) => isSame(each, by.get(each.path))));
};
const isSame = ({ file }, there) => there?.kind === "file" && there.size === file.size
  && file.lastModified && Math.abs(there.mtime_ms - file.lastModified) < 2;

let sender;
let clashed = []; // names taken meanwhile
let lastSpoken = 0, samples = [], isHeard = false, wereThere = 0;
function reset() {
  clashed = []; samples = []; wereThere = 0; problems.replaceChildren(); isHeard = false;
  sender = new Sender({ api, folder, library, knows: isGuest ? async () => new Set() : knows, hears: {
    changed: () => { draw(); },
    sent: () => {},
    refused: (item) => { if (item.error.code === "disk.name-taken" && !isGuest) clashed.push(item); else problem(item); },
    stopped: (reason, message) => { draw(true); if (reason === "full") say(words.full); // the server speaks of one request; what came before it is kept
      else if (reason !== "cancelled") say(message || words[reason.replace("-", "_")]); },
  } });
}

function problem(item) {
  const count = problems.children.length;
  if (count > MOST_SHOWN) return;
  if (count === MOST_SHOWN) { problems.append(element("li", "", "…")); return; }
  const why = item.error.message && item.error.name !== "NotReadableError" && item.error.name !== "NotFoundError" ? item.error.message : words.unreadable;
  problems.append(element("li", "", element("strong", "", item.path), ` ${why}`));
}

function say(text) { spoken.textContent = text; lastSpoken = Date.now(); }

let drawing = 0;
function draw(now = false) {
  if (now) { cancelAnimationFrame(drawing); drawing = 0; paint(); return; }
  drawing ||= requestAnimationFrame(() => { drawing = 0; paint(); });
}

function paint() {
  if (!sender.total) return;
  panel.hidden = false;
  const { total, done, refused, sent, size, stopped, isBusy } = sender;
  const part = size ? Math.min(1, sent / size) : 1;
  const percent = `${Math.floor(part * 100)}${language === "fr" ? "\u00a0" : ""}%`;
  bar.value = part;
  const at = performance.now();
  if (!samples.length || at - samples.at(-1)[0] > 250) samples.push([at, sent]);
  while (samples.length > 2 && at - samples[0][0] > 8000) samples.shift();
  const speed = samples.length > 1 ? 1000 * (sent - samples[0][1]) / (at - samples[0][0]) : 0;
  const isOver = !isBusy && !sender.left;
  const waits = Math.ceil((sender.waiting - Date.now()) / 1000);
  panel.classList.toggle("is-bad", Boolean(stopped && stopped !== "cancelled") || (isOver && refused > clashed.length));
  cancel.hidden = isOver || stopped === "cancelled"; goOn.hidden = isOver || !stopped || stopped === "cancelled"; close.hidden = !isOver;
  bar.hidden = isOver;
  if (isOver) {
    if (!isHeard) ended();
    return;
  }
  title.textContent = fill(words.sending, whole.format(done), whole.format(total), percent);
  detail.textContent = stopped && stopped !== "cancelled" ? (spoken.textContent || words[stopped.replace("-", "_")])
    : waits > 0 ? fill(words.waiting, lasting(waits))
      : speed > 0 ? fill(words.estimate, sized(sent), sized(size), `${sized(speed)}/s`, lasting((size - sent) / speed)) : words.beginning;
  if (!stopped && Date.now() - lastSpoken > 15000) say(`${title.textContent} ${detail.textContent}`);
  if (waits > 0) setTimeout(draw, 500);
}

async function ended() {
  isHeard = true;
  dispatchEvent(new Event("disk:changed"));
  if (clashed.length && sender.stopped !== "cancelled") {
    const items = clashed; clashed = [];
    for (const each of items) { delete each.error; sender.refused -= 1; sender.total -= 1; }
    isHeard = false;
    await begin(items);
    return;
  }
  const text = sender.stopped === "cancelled" ? fill(words.cancelled, whole.format(sender.done))
    : fill(sender.refused ? words.done_partly : words.done, whole.format(sender.done), whole.format(sender.refused));
  title.textContent = wereThere ? `${text} ${fill(words.same, whole.format(wereThere))}` : text;
  detail.textContent = "";
  say(title.textContent);
  unfinished();
}

addEventListener("beforeunload", (event) => { if (sender.isBusy && sender.stopped !== "cancelled") event.preventDefault(); });
addEventListener("online", () => { if (sender.stopped === "lost") sender.go(); });

// --- names that are taken, and room ---------------------------------------------------------

async function asked(verb, body) {
  const answer = await fetch(`${api}/${verb}`, body === undefined ? {} : {
    method: "POST", headers: { "content-type": "application/json", accept: "application/json" }, body: JSON.stringify(body),
  });
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(found.error?.message ?? words.lost);
  return found;
}

async function begin(items) {
  if (!items.length) return;
  if (!sender.isBusy && !sender.left) reset();
  let wanted = items, room = isGuest ? Number(section.dataset.room) : Infinity;
  if (!isGuest) {
    try {
      const found = await asked("clashes", { folder, paths: items.map((each) => each.path) });
      room = found.room;
      const by = new Map(found.taken.map((each) => [each.path, each]));
      const fresh = items.filter((each) => !by.has(each.path));
      const there = items.filter((each) => by.has(each.path));
      const different = there.filter((each) => !isSame(each, by.get(each.path)));
      wereThere += there.length - different.length;
      const answer = different.length ? await choose(different, items.length) : "skip";
      if (answer === null) return;
      wanted = fresh;
      if (answer === "replace") wanted = wanted.concat(different.map((each) => (by.get(each.path).kind === "file" ? { ...each, replaces: true } : { ...each, path: by.get(each.path).free })));
      if (answer === "both") wanted = wanted.concat(different.map((each) => ({ ...each, path: by.get(each.path).free })));
    } catch (error) { show(error.message); return; }
  }
  const size = wanted.reduce((sum, each) => sum + each.file.size, 0);
  if (size > room) { show(fill(words.no_room, sized(size), sized(room))); return; }
  if (!wanted.length) { show(fill(words.same, whole.format(wereThere)), false); wereThere = 0; return; }
  isHeard = false;
  say(fill(words.sending, 0, whole.format(wanted.length), "0"));
  sender.add(wanted);
}

function show(text, isBad = true) {
  panel.hidden = false; panel.classList.toggle("is-bad", isBad);
  title.textContent = text; detail.textContent = ""; bar.hidden = cancel.hidden = goOn.hidden = true; close.hidden = false;
  say(text);
}

function choose(taken, of) {
  return new Promise((resolve) => {
    const heading = element("h2", "", fill(words.taken, whole.format(taken.length), whole.format(of))); heading.id = "clash-title";
    const names = element("ul", "sending-names", ...taken.slice(0, 8).map((each) => element("li", "", each.path)), ...(taken.length > 8 ? ["…"] : []));
    let answer = null;
    const made = element("dialog", "card", heading, names);
    const choice = (text, hint, value, css) => { const one = button(text, css, () => { answer = value; made.close(); }); return element("p", "sending-choice", one, element("small", "", hint)); };
    made.append(choice(words.both, words.both_hint, "both", "main"));
    if (mayReplace) made.append(choice(words.replace, words.replace_hint, "replace", ""));
    made.append(choice(words.skip, words.skip_hint, "skip", ""), element("p", "row dialog-end", button(words.cancel, "", () => made.close())));
    made.setAttribute("aria-labelledby", heading.id);
    made.addEventListener("close", () => { made.remove(); resolve(answer); });
    document.body.append(made);
    made.showModal();
  });
}

// --- where files come from ------------------------------------------------------------------

const asItem = (file, path) => ({ file, path: (path || file.webkitRelativePath || file.name).normalize("NFC") });
const isWanted = ({ file, path }) => !JUNK.has(file.name) && !path.split("/").at(-1).startsWith("._");
const take = (items) => begin(items.filter(isWanted));

function picker(attributes) {
  const input = element("input"); input.type = "file"; input.hidden = true;
  for (const [name, value] of Object.entries(attributes)) input.setAttribute(name, value);
  input.addEventListener("change", () => { const files = [...input.files]; input.value = ""; take(files.map((each) => asItem(each))); });
  section.append(input);
  return input;
}

async function entries(entry, above, into, empty) {
  const path = above ? `${above}/${entry.name}` : entry.name;
  if (entry.isFile) {
    into.push(asItem(await new Promise((resolve, reject) => { entry.file(resolve, reject); }), path));
    return;
  }
  const reader = entry.createReader();
  let count = 0;
  for (;;) {
    const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (!some.length) break;
    count += some.length;
    for (const each of some) await entries(each, path, into, empty);
  }
  if (!count) empty.push(path.normalize("NFC"));
}

async function dropped(transfer) {
  const items = [], empty = [];
  const roots = [...transfer.items].filter((each) => each.kind === "file").map((each) => each.webkitGetAsEntry?.() ?? each.getAsFile());
  if (roots.some((each) => each?.isDirectory)) say(words.reading);
  for (const root of roots) {
    if (root instanceof File) items.push(asItem(root));
    else if (root) await entries(root, "", items, empty).catch(() => show(words.unreadable));
  }
  await take(items);
  if (!isGuest) for (const path of empty) await makeFolders(path);
  if (empty.length) dispatchEvent(new Event("disk:changed"));
}

async function makeFolders(path) {
  const utf8 = new TextEncoder();
  const unpacked = Uint8Array.from(atob(folder.replaceAll("-", "+").replaceAll("_", "/")), (each) => each.charCodeAt(0));
  let above = [...unpacked];
  for (const name of path.split("/")) {
    above = [...(above.length ? [...above, 47] : []), ...utf8.encode(name)];
    const packed = btoa(String.fromCharCode(...above)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
    await asked("folders", { path: packed }).catch(() => {}); // there already, or said by the files in it
  }
}

const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
let over = 0;
addEventListener("dragenter", (event) => { if (hasFiles(event)) { over += 1; document.body.classList.add("dropping"); event.preventDefault(); } });
addEventListener("dragleave", (event) => { if (hasFiles(event) && --over <= 0) { over = 0; document.body.classList.remove("dropping"); } });
addEventListener("dragover", (event) => { if (hasFiles(event)) { event.preventDefault(); event.dataTransfer.dropEffect = "copy"; } });
addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault(); over = 0; document.body.classList.remove("dropping");
  dropped(event.dataTransfer);
});
addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (!files.length || event.target.closest?.("input, textarea")) return;
  event.preventDefault();
  take(files.map((file) => {
    // A picture out of the clipboard has no name of its own.
    const stamp = new Date(Date.now() - new Date().getTimezoneOffset() * 60000).toISOString().slice(0, 19).replace("T", " ").replaceAll(":", ".");
    return asItem(file, /^image\.\w+$/.test(file.name) ? `${words.pasted} ${stamp}.${file.name.split(".").at(-1)}` : file.name);
  }));
});

// --- what was not finished ------------------------------------------------------------------

const waiting = element("div", "note sending-unfinished"); waiting.hidden = true;
async function unfinished() {
  if (isGuest) return;
  const found = await fetch(`${api}/uploads`).then((each) => (each.ok ? each.json() : [])).catch(() => []);
  waiting.hidden = !found.length;
  const lines = found.map((each) => element("li", "",
    `${each.name} · ${fill(words.partly, sized(each.offset), sized(each.size))} `,
    button(words.forget, "small plain", async () => { await fetch(`${api}/uploads/${each.id}`, { method: "DELETE" }); unfinished(); })));
  waiting.replaceChildren(element("p", "", words.unfinished), element("ul", "", ...lines));
}

// --- beginning ------------------------------------------------------------------------------

const isTouch = matchMedia("(pointer: coarse)").matches;
const many = picker({ multiple: "" });
const tools = [button(words.files, "main", () => many.click())];
if (isTouch) {
  const camera = picker({ accept: "image/*", capture: "environment" });
  tools.push(button(words.photo, "", () => camera.click()));
} else {
  const tree = picker({ webkitdirectory: "" });
  tools.push(button(words.folder, "", () => tree.click()));
}
section.querySelector("[data-upload-form]").replaceWith(...tools);
if (!isTouch) section.append(element("small", "sending-hint", words.hint));
document.body.dataset.dropWords = words.drop;
panel.after(waiting);
reset();
section.dataset.uploadReady = "";
unfinished();
