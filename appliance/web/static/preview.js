// Looking at files over the folder: pictures, pages, texts, DICOM. All of it was made anew on the box;
// nothing of a file's own bytes runs or is even read here, but the grey values of a DICOM frame.

const words = JSON.parse(document.querySelector("[data-preview-words]").dataset.previewWords);
const language = document.documentElement.lang;
const SHOWN = /\.(jpe?g|png|webp|tiff?|gif|bmp|heic|heif|avif|pdf|txt|csv|log|md|hl7|ini|json|xml|docx|xlsx|pptx|odt|ods|odp|dcm|dicom|ima)$/i;
const AHEAD = 3; // slices fetched before they are asked for

function element(tag, css, ...inside) {
  const made = document.createElement(tag);
  if (css) made.className = css;
  made.append(...inside);
  return made;
}
function button(text, label, act) {
  const made = element("button", "small", text);
  made.type = "button"; made.setAttribute("aria-label", label); made.title = label;
  made.addEventListener("click", act);
  return made;
}

// --- the window -----------------------------------------------------------------------------

const dialog = element("dialog", "preview");
const title = element("h2"); title.id = "preview-title"; title.setAttribute("aria-live", "polite");
dialog.setAttribute("aria-labelledby", title.id);
const before = button("‹", words.before, () => step(-1));
const after = button("›", words.after, () => step(1));
const farther = button("−", words.farther, () => zoom(1 / 1.4));
const nearer = button("+", words.nearer, () => zoom(1.4));
const fit = button("⤢", words.fit, () => whole());
for (const each of [farther, nearer, fit]) each.classList.add("zoom");
const download = element("a", "button small", "↓"); download.setAttribute("aria-label", words.download); download.title = words.download;
const close = button("✕", words.close, () => dialog.close());
const stage = element("div", "preview-stage");
stage.tabIndex = -1; // a button that has just been disabled would take the keyboard with it
const foot = element("footer");
dialog.append(element("header", "", title, before, after, farther, nearer, fit, download, close), stage, foot);
document.body.append(dialog);

let files = []; // [{base, path, name, download}]
let at = 0;
let info = null;
let slices = []; // of a series; one for a file alone
let place = 0; // page, frame or slice
let light = null; // {c, w}: the window, null as recorded
let grey = null; // {path, page, ...}: values of the frame shown, for windowing here
let wanted = 0; // counts openings: an answer to an older one is dropped
let returnTo = null;

async function call(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, { ...options, headers: { "hx-request": "true" } });
  } catch { throw new Error(words.lost); }
  if (answer.status === 401) { location.reload(); throw new Error(words.lost); }
  if (!answer.ok) throw new Error((await answer.text()).trim().slice(0, 400) || words.lost);
  return answer;
}
const base = () => files[at].base;

export function open(list, index) {
  files = list; at = index;
  returnTo = document.activeElement;
  if (!dialog.open) dialog.showModal();
  stage.focus({ preventScroll: true });
  show();
}

async function show() {
  const mine = ++wanted;
  const file = files[at];
  info = null; slices = [file.path]; place = 0; light = null; grey = null;
  pictures.clear();
  title.textContent = file.name;
  before.disabled = at === 0; after.disabled = at === files.length - 1;
  download.href = file.download;
  stage.className = "preview-stage"; foot.replaceChildren();
  say(words.wait);
  try {
    const found = await (await call(`${base()}/info?p=${file.path}`)).json();
    if (mine !== wanted) return;
    info = found;
    if (info.kind === "text" || info.kind === "office") { letters(); return; }
    whole(); bottom();
    await draw();
    if (info.kind === "dicom" && info.pages === 1) await series(mine);
  } catch (error) {
    if (mine === wanted) refuse(error.message);
  }
}

async function series(mine) {
  const found = await (await call(`${base()}/series?p=${files[at].path}`, { method: "POST" })).json();
  if (mine !== wanted || found.items.length < 2) return;
  slices = found.items.map((each) => each.path);
  place = found.at;
  bottom(); ahead();
}

function say(text) {
  stage.replaceChildren(element("p", "preview-say soft", text));
}
function refuse(text) {
  const link = element("a", "button small", words.download); link.href = download.href;
  const said = element("div", "preview-say", element("p", "", text), link);
  said.setAttribute("role", "alert");
  stage.replaceChildren(said);
}

function letters() {
  const text = element("pre", "preview-text", info.text || words.empty);
  text.tabIndex = 0;
  stage.replaceChildren(text);
  text.focus({ preventScroll: true });
  if (info.is_cut) foot.append(element("span", "soft", words.cut));
}

// --- pictures -------------------------------------------------------------------------------

const pictures = new Map(); // address → promise of an image
const count = () => Math.max(info.pages, slices.length);
const side = () => (Math.max(stage.clientWidth, stage.clientHeight) * devicePixelRatio > 1100 ? 2048 : 1024);

function source(number) {
  const [path, page] = slices.length > 1 ? [slices[number], 0] : [slices[0], number];
  return { path, page };
}
function address(number) {
  const { path, page } = source(number);
  const window_ = light ? `&c=${light.c}&w=${light.w}` : "";
  return `${base()}/picture?p=${path}&page=${page}&side=${info.kind === "dicom" ? 1024 : side()}${window_}`;
}
function fetched(number) {
  const from = address(number);
  if (!pictures.has(from)) {
    if (pictures.size > 60) pictures.delete(pictures.keys().next().value);
    const image = new Image();
    image.className = "picture"; image.alt = ""; image.draggable = false; image.src = from;
    pictures.set(from, image.decode().then(() => image, async () => {
      pictures.delete(from);
      await call(from); // says why
      throw new Error(words.lost);
    }));
  }
  return pictures.get(from);
}
function ahead() {
  for (let more = 1; more <= AHEAD; more += 1) {
    for (const number of [place + more, place - more]) if (number >= 0 && number < count()) fetched(number).catch(() => {});
  }
}

async function draw() {
  const mine = wanted, number = place;
  if (grey && grey.path === source(number).path && grey.page === source(number).page) { paint(); return; }
  const image = await fetched(number);
  if (mine !== wanted || number !== place) return;
  image.alt = files[at].name;
  put(image);
  if (count() > 1) ahead();
}
function put(picture) {
  const panel = stage.querySelector(".preview-fields");
  stage.replaceChildren(picture, ...(panel ? [panel] : []));
  picture.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.times})`;
}

async function turn(to) {
  if (!info || count() < 2) return;
  place = Math.max(0, Math.min(count() - 1, to));
  figures();
  try {
    if (grey && light) await values();
    await draw();
  } catch (error) { refuse(error.message); }
}
function step(by) {
  const next = at + by;
  if (next < 0 || next >= files.length) return;
  at = next; show();
}

// --- near and far ---------------------------------------------------------------------------

const view = { times: 1, x: 0, y: 0 };
function whole() { Object.assign(view, { times: 1, x: 0, y: 0 }); moved(); }
function zoom(by, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
  const times = Math.max(1, Math.min(12, view.times * by));
  view.x = x - (x - view.x) * (times / view.times);
  view.y = y - (y - view.y) * (times / view.times);
  view.times = times;
  moved();
}
function moved() {
  const room = (1 - view.times);
  view.x = Math.min(0, Math.max(room * stage.clientWidth, view.x));
  view.y = Math.min(0, Math.max(room * stage.clientHeight, view.y));
  const picture = stage.querySelector(".picture");
  if (picture) picture.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.times})`;
  stage.classList.toggle("can-move", view.times > 1);
}

// --- windows of DICOM -----------------------------------------------------------------------
// The first picture comes finished from the box. Who drags gets the grey values, once a frame, and every
// movement is then drawn here.

async function values() {
  const { path, page } = source(place);
  if (grey?.path === path && grey.page === page) return;
  const mine = wanted;
  const raw = await (await call(`${base()}/pixels?p=${path}&page=${page}`)).arrayBuffer();
  if (mine !== wanted || source(place).path !== path || source(place).page !== page) return;
  const head = new DataView(raw);
  const [width, height] = [head.getUint16(0, true), head.getUint16(2, true)];
  const canvas = element("canvas", "picture"); canvas.width = width; canvas.height = height;
  canvas.setAttribute("role", "img"); canvas.setAttribute("aria-label", files[at].name);
  grey = { path, page, width, height, low: head.getFloat64(4, true), step: head.getFloat64(12, true), isDark: head.getUint8(20) === 1,
    values: new Uint16Array(raw, 24, width * height), canvas, image: new ImageData(width, height) };
}
function own() {
  const first = info.windows?.[0];
  if (first) return { c: first.centre, w: first.width };
  const span = grey.step * 65535;
  return { c: grey.low + span / 2, w: span };
}
const shades = new Uint32Array(65536);
function paint() {
  const { c, w } = light ?? own();
  const from = c - w / 2;
  for (let value = 0; value < 65536; value += 1) {
    let shade = ((grey.low + value * grey.step - from) * 255) / w;
    shade = shade < 0 ? 0 : shade > 255 ? 255 : shade | 0;
    if (grey.isDark) shade = 255 - shade;
    shades[value] = 0xff000000 | (shade << 16) | (shade << 8) | shade;
  }
  const out = new Uint32Array(grey.image.data.buffer);
  for (let place_ = 0; place_ < out.length; place_ += 1) out[place_] = shades[grey.values[place_]];
  grey.canvas.getContext("2d").putImageData(grey.image, 0, 0);
  if (!grey.canvas.isConnected) put(grey.canvas);
}
let painting = 0;
function relight(next, byHand = true) {
  light = next;
  figures(byHand);
  cancelAnimationFrame(painting);
  painting = requestAnimationFrame(async () => {
    try {
      if (!grey || grey.path !== source(place).path || grey.page !== source(place).page) await values();
      if (grey && dialog.open) paint();
    } catch (error) { refuse(error.message); }
  });
}

// --- the bar below --------------------------------------------------------------------------

let slider, number, chosen, lightSaid;
function bottom() {
  foot.replaceChildren(); slider = number = chosen = lightSaid = null;
  if (count() > 1) {
    const name = slices.length > 1 ? words.slice : words.page;
    slider = element("input"); slider.type = "range"; slider.min = 1; slider.max = count(); slider.setAttribute("aria-label", name);
    slider.addEventListener("input", () => turn(Number(slider.value) - 1));
    number = element("span", "figures");
    foot.append(button("‹", `${name} −`, () => turn(place - 1)), slider, button("›", `${name} +`, () => turn(place + 1)), number);
  }
  if (info.kind === "dicom") {
    if (!info.is_colour) {
      chosen = element("select"); chosen.id = "preview-window";
      info.windows.forEach((each, index) => chosen.append(new Option(each.name, index)));
      if (!info.windows.length) chosen.append(new Option("—", "none"));
      chosen.append(new Option(info.whole, "whole"), new Option(words.hand, "hand"));
      chosen.options[chosen.options.length - 1].hidden = true;
      const label = element("label", "", words.window); label.htmlFor = chosen.id;
      lightSaid = element("span", "figures soft");
      chosen.addEventListener("change", async () => {
        const given = info.windows[Number(chosen.value)];
        if (given) { relight({ c: given.centre, w: given.width }, false); return; }
        await values().catch((error) => refuse(error.message));
        if (grey) { const span = grey.step * 65535; relight({ c: grey.low + span / 2, w: Math.max(span, 1e-9) }, false); }
      });
      foot.append(label, chosen, lightSaid);
      stage.classList.add("window");
    }
    foot.append(button(words.fields, words.fields, fields));
    foot.append(element("span", "soft", words.not_diagnosis));
    if (!info.is_colour) foot.append(element("span", "soft hint", words.drag));
  }
  figures();
}
function figures(byHand = false) {
  if (slider) { slider.value = place + 1; number.textContent = words.of.replace("##", count()).replace("#", place + 1); }
  if (lightSaid && light) {
    lightSaid.textContent = `${Math.round(light.c).toLocaleString(language)} / ${Math.round(light.w).toLocaleString(language)}`;
    if (byHand) chosen.value = "hand";
  }
}

async function fields() {
  const old = stage.querySelector(".preview-fields");
  if (old) { old.remove(); return; }
  const mine = wanted;
  try {
    const found = await (await call(`${base()}/fields?p=${source(place).path}`, { method: "POST" })).json();
    if (mine !== wanted) return;
    const list = element("dl");
    for (const each of found.fields) list.append(element("dt", "", each.label), element("dd", "", each.value));
    const panel = element("section", "preview-fields", found.fields.length ? list : element("p", "", words.nobody), element("p", "soft", words.told));
    panel.tabIndex = 0; panel.setAttribute("aria-label", words.fields);
    stage.append(panel);
    panel.focus();
  } catch (error) { refuse(error.message); }
}

// --- hands ----------------------------------------------------------------------------------

const held = new Map(); // pointers on the stage
let began = null;
stage.addEventListener("pointerdown", (event) => {
  if (event.target.closest(".preview-fields, .preview-text, .preview-say") || !info) return;
  held.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
  stage.setPointerCapture(event.pointerId);
  began = { x: event.clientX, y: event.clientY, at: performance.now(), light: light ?? (grey || info.windows?.length ? own() : null), several: held.size > 1 };
  if (info.kind === "dicom" && !info.is_colour && event.pointerType === "mouse" && !grey) values().then(() => { if (began && !began.light && grey) began.light = own(); }).catch(() => {});
});
stage.addEventListener("pointermove", (event) => {
  const last = held.get(event.pointerId);
  if (!last || !began) return;
  const now = { x: event.clientX - stage.getBoundingClientRect().left, y: event.clientY - stage.getBoundingClientRect().top };
  if (held.size === 2) {
    began.several = true;
    const [other] = [...held].filter(([id]) => id !== event.pointerId).map(([, each]) => each);
    const span = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);
    if (span(last, other) > 8) zoom(span(now, other) / span(last, other), (now.x + other.x) / 2, (now.y + other.y) / 2);
  } else if (info.kind === "dicom" && !info.is_colour && event.pointerType === "mouse" && !event.shiftKey) {
    if (began.light) {
      const fine = Math.max(1, began.light.w) / 400;
      relight({ c: began.light.c + (event.clientY - began.y) * fine, w: Math.max(1e-6, began.light.w + (event.clientX - began.x) * fine) });
    }
  } else if (view.times > 1) { view.x += now.x - last.x; view.y += now.y - last.y; moved(); }
  held.set(event.pointerId, now);
});
function released(event) {
  if (!held.delete(event.pointerId) || !began || held.size) return;
  const across = event.clientX - began.x, down = event.clientY - began.y;
  const isSwipe = event.pointerType !== "mouse" && !began.several && view.times === 1 && performance.now() - began.at < 700;
  began = null;
  if (!isSwipe || event.type === "pointercancel") return;
  if (Math.abs(across) > 60 && Math.abs(across) > 2 * Math.abs(down)) step(across < 0 ? 1 : -1);
  else if (Math.abs(down) > 60 && Math.abs(down) > 2 * Math.abs(across)) turn(place + (down < 0 ? 1 : -1));
}
stage.addEventListener("pointerup", released);
stage.addEventListener("pointercancel", released);
stage.addEventListener("dblclick", (event) => (view.times > 1 ? whole() : zoom(2.5, event.offsetX, event.offsetY)));
let rolled = 0;
stage.addEventListener("wheel", (event) => {
  if (!info || event.target.closest(".preview-text, .preview-fields")) return;
  event.preventDefault();
  if (event.ctrlKey || count() < 2) { zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, event.offsetX, event.offsetY); return; }
  rolled += event.deltaY;
  if (Math.abs(rolled) >= 40) { turn(place + Math.sign(rolled)); rolled = 0; }
}, { passive: false });

document.addEventListener("keydown", (event) => {
  if (!dialog.open || event.ctrlKey || event.metaKey || event.altKey) return;
  const inText = event.target.closest("select, input, .preview-text, .preview-fields");
  const keys = {
    ArrowLeft: () => step(-1), ArrowRight: () => step(1),
    ArrowUp: () => turn(place - 1), ArrowDown: () => turn(place + 1),
    PageUp: () => turn(place - 10), PageDown: () => turn(place + 10), Home: () => turn(0), End: () => turn(Infinity),
    "+": () => zoom(1.4), "-": () => zoom(1 / 1.4), 0: () => whole(),
  };
  const across = event.key === "ArrowLeft" || event.key === "ArrowRight";
  if (!(event.key in keys) || (inText && !(across && event.target.matches(".preview-text")))) return;
  event.preventDefault(); keys[event.key]();
});
dialog.addEventListener("close", () => {
  wanted += 1; stage.replaceChildren(); foot.replaceChildren(); pictures.clear(); grey = null; info = null; held.clear(); began = null;
  returnTo?.focus?.({ preventScroll: true });
});

// --- the folder's page ----------------------------------------------------------------------

addEventListener("disk:open", (event) => {
  const { share, path, name, files: all } = event.detail;
  if (!SHOWN.test(name)) return;
  event.preventDefault();
  const near = (typeof all === "function" ? all() : [event.detail]).filter((each) => SHOWN.test(each.name));
  const index = Math.max(0, near.findIndex((each) => each.path === path));
  open((near.length ? near : [event.detail]).map((each) => ofShare({ share, ...each })), index);
});
function ofShare({ share, path, name }) {
  const where = encodeURIComponent(share);
  return { path, name, base: `/preview/${where}`, download: `/disk/${where}/file?p=${path}` };
}

// --- pages of snapshots: links that say what they show -----------------------------------------

addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-look]");
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || !SHOWN.test(link.dataset.name)) return;
  event.preventDefault();
  const near = [...document.querySelectorAll("a[data-look]")].filter((each) => SHOWN.test(each.dataset.name));
  open(near.map(({ dataset }) => ({ base: dataset.look, path: dataset.path, name: dataset.name, download: dataset.download })), near.indexOf(link));
});
