// What the disk's page asks and says: a line to type, a folder to choose, names that are taken, how far a copy is,
// details, a short message with a way back, a menu.
import { above, bytesOf, button, dated, datedLong, element, join, readable, shown, sized, unpack } from "./disk_text.js";

let place;
function toasts() {
  if (!place) {
    place = element("div", "toasts"); place.setAttribute("role", "status"); place.setAttribute("aria-live", "polite");
    document.body.append(place);
  }
  return place;
}
export function toast(text, { grave = false, action, act } = {}) {
  const made = element("div", grave ? "toast is-bad" : "toast", element("span", "", text));
  if (action) made.append(button(action, "small", () => { made.remove(); act(); }));
  toasts().append(made);
  setTimeout(() => made.remove(), grave ? 12000 : 8000);
}

// How far something long is; shows itself only after a moment, so that short work does not flicker.
export function progress(title, words, stop) {
  const bar = element("progress"); bar.max = 1; bar.setAttribute("aria-label", title);
  const said = element("span", "", title);
  const made = element("div", "toast going", said, bar, button(words.cancel, "small", stop));
  const timer = setTimeout(() => toasts().append(made), 500);
  return {
    tell(done, total) {
      if (total) { bar.value = Math.min(1, done / total); said.textContent = `${title} ${sized(done)} / ${sized(total)}`; }
    },
    end() { clearTimeout(timer); made.remove(); },
  };
}

let count = 0;
function dialog(title, ...inside) {
  const made = element("dialog", "card disk-dialog");
  const heading = element("h2", "", title); heading.id = `dialog-${count += 1}`;
  made.setAttribute("aria-labelledby", heading.id);
  made.append(heading, ...inside);
  document.body.append(made);
  made.showModal();
  return made;
}

export function ask(title, label, value, words, act = title) {
  return new Promise((resolve) => {
    const input = element("input"); input.value = value; input.maxLength = 255; input.autocomplete = "off"; input.id = "ask"; input.required = true;
    const text = element("label", "", label); text.htmlFor = "ask";
    const no = button(words.cancel, "", () => made.close());
    const inner = element("form", "", text, input, element("p", "row dialog-end", no, element("button", "main", act))); inner.method = "dialog";
    const made = dialog(title, inner);
    const dot = value.lastIndexOf(".");
    input.focus(); input.setSelectionRange(0, dot > 0 ? dot : value.length);
    let answer = null;
    inner.addEventListener("submit", () => { answer = input.value.trim(); });
    made.addEventListener("close", () => { made.remove(); resolve(answer); });
  });
}

// One question for all names that are taken: "both", "replace", "skip", or null for nothing at all.
export function clash(names, words, mayReplace) {
  return new Promise((resolve) => {
    let answer = null;
    const list = element("ul", "taken", ...names.slice(0, 8).map((each) => element("li", "", shown(each))));
    if (names.length > 8) list.append(element("li", "soft", `+ ${names.length - 8}`));
    const choices = [["both", words.both, words.both_hint], ...(mayReplace ? [["replace", words.replace, words.replace_hint]] : []), ["skip", words.skip, words.skip_hint]];
    const rows = choices.map(([value, text, hint], at) => element("p", "choice",
      button(text, at ? "" : "main", () => { answer = value; made.close(); }), element("span", "soft", hint)));
    const made = dialog(words.taken.replace("#", names.length), list, ...rows,
      element("p", "row dialog-end", button(words.cancel, "plain", () => made.close())));
    made.addEventListener("close", () => { made.remove(); resolve(answer); });
  });
}

// A folder of this share, or of another one in which this person may add; { share, folder } or null.
export function choose(title, share, from, words) {
  return new Promise((resolve) => {
    let here = { share, folder: from };
    let answer = null;
    const path = element("p", "soft where");
    const list = element("ul", "folders");
    const yes = button(words.here, "main", () => { answer = here; made.close(); });
    const made = dialog(title, path, list, element("p", "row dialog-end", button(words.cancel, "", () => made.close()), yes));
    const line = (text, to) => element("li", "", button(text, "plain", () => { here = to; look(); }));
    const asked = (address) => fetch(address).then((each) => (each.ok ? each.json() : Promise.reject(each))).catch(() => null);
    async function look() {
      yes.disabled = here === null;
      list.replaceChildren(element("li", "soft", words.loading));
      if (here === null) {
        const found = (await asked("/api/v1/disk")) ?? [];
        path.textContent = words.shares;
        list.replaceChildren(...found.filter((each) => each.rights.includes("add") && each.rights.includes("see"))
          .map((each) => line(each.label, { share: each.name, folder: "" })));
        return;
      }
      const now = here;
      path.textContent = `${now.share} / ${readable(now.folder).replaceAll("/", " / ")}`;
      const found = (await asked(`/api/v1/disk/${encodeURIComponent(now.share)}/list?p=${now.folder}`)) ?? { n: [], k: "", raw: {} };
      if (now !== here) return;
      const lines = [line(`↑ ${now.folder ? words.up : words.shares}`, now.folder ? { share: now.share, folder: above(now.folder) } : null)];
      found.n.forEach((name, at) => {
        if (found.k[at] !== "d") return;
        lines.push(line(shown(name), { share: now.share, folder: join(now.folder, at in found.raw ? unpack(found.raw[at]) : bytesOf(name)) }));
      });
      list.replaceChildren(...lines);
    }
    made.addEventListener("close", () => { made.remove(); resolve(answer); });
    look();
  });
}

// What is known about a file: at once what the list says, then what the box knows. `asked(verb, body)` asks it.
export function details({ name, kind, size, changed, address, versions, path, share }, words, asked) {
  const facts = element("dl", "facts");
  const add = (term, ...value) => { const line = element("dd", "", ...value); facts.append(element("div", "", element("dt", "", term), line)); return line; };
  add(words.kind, words[`kind_${kind}`]);
  if (kind === "f") add(words.size, sized(size));
  add(words.changed, datedLong(changed));
  if (address) {
    const text = element("code", "copyable", address);
    const copy = button(words.copy_address, "small", async () => { await navigator.clipboard.writeText(address); copy.textContent = words.copied; });
    add(words.address, text, " ", copy);
  }
  const known = element("div", "known", element("p", "soft", words.loading)); known.setAttribute("aria-live", "polite"); known.tabIndex = 0; known.setAttribute("role", "region"); known.setAttribute("aria-label", words.details);
  const more = element("a", "button", words.versions); more.href = versions;
  const made = dialog(shown(name), facts, known, element("p", "row dialog-end", more, button(words.close, "main", () => made.close())));
  made.addEventListener("close", () => made.remove());
  const part = (title, ...lines) => {
    const heading = element("h3", "", title);
    const list = element("ul", "log", ...(lines.length ? lines : [element("li", "soft", words.nobody)]));
    known.append(heading, list);
  };
  asked(`about?p=${path}`).then((about) => {
    known.replaceChildren();
    if (about.versions !== null) more.textContent = `${words.versions} (${about.versions})`;
    if (kind === "f") hashLine(add, about.hash, () => asked("hash", { path }), words);
    part(words.touched, ...about.touches.map((each) => element("li", "", element("time", "", dated(Date.parse(each.at))), element("span", "", element("b", "", each.who), ` ${each.what}`))));
    if (about.ledger) { const whole = element("a", "", words.whole_journal); whole.href = about.ledger; known.append(element("p", "", whole)); }
    part(words.seers, ...about.seers.map((each) => element("li", "", element("span", "", element("b", "", each.name), ` ${each.role} · ${each.rights.join(", ")}`))));
    if (about.links.length) part(words.given, ...about.links.map((each) => {
      const link = element("a", "", each.label); link.href = `/links/${each.id}`;
      return element("li", "", element("time", "", words.until.replace("#", dated(Date.parse(each.ends_at)))), element("span", "", link, ` · ${each.maker}`, each.of_folder ? ` · ${words.by_folder}` : ""));
    }));
  }).catch((error) => { known.replaceChildren(element("p", "soft", error.message)); });
}

function hashLine(add, hash, ask_, words) {
  const show = (text) => { const code = element("code", "copyable", text); line.replaceChildren(code); };
  const count_ = button(words.hash_make, "small", async () => {
    count_.disabled = true;
    try { show((await ask_()).hash); } catch (error) { line.replaceChildren(error.message); }
  });
  const line = add(words.hash, count_);
  if (hash) show(hash);
}

// A menu at a point of the page; entries are { text, act, grave }. The focus goes back where it was.
export function menu(label, entries, x, y, back) {
  document.querySelector(".context-menu")?.remove();
  const made = element("div", "context-menu"); made.setAttribute("role", "menu"); made.setAttribute("aria-label", label);
  const lines = entries.map(({ text, act, grave }) => {
    const line = button(text, grave ? "grave" : "", () => { shut(); act(); });
    line.setAttribute("role", "menuitem"); line.tabIndex = -1;
    return line;
  });
  made.append(...lines);
  document.querySelector("main").append(made);
  const away = (event) => { if (!made.contains(event.target)) shut(false); };
  function shut(isBack = true) {
    made.remove(); removeEventListener("pointerdown", away, true); removeEventListener("scroll", away, true); removeEventListener("resize", away);
    if (isBack) back?.focus({ preventScroll: true });
  }
  made.style.left = `${Math.max(8, Math.min(x, innerWidth - made.offsetWidth - 8))}px`;
  made.style.top = `${Math.max(8, Math.min(y, innerHeight - made.offsetHeight - 8))}px`;
  made.addEventListener("keydown", (event) => {
    const at = lines.indexOf(document.activeElement);
    const steps = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 };
    if (event.key in steps) lines.at(steps[event.key] % lines.length).focus();
    else if (event.key === "Escape" || event.key === "Tab") shut();
    else if (event.key.length === 1) lines.find((each) => each.textContent.toLowerCase().startsWith(event.key.toLowerCase()))?.focus();
    if (event.key !== "Enter" && event.key !== " ") event.preventDefault();
    event.stopPropagation();
  });
  made.addEventListener("contextmenu", (event) => event.preventDefault());
  addEventListener("pointerdown", away, true); addEventListener("resize", away);
  // What scrolled before, towards the very row, is told a frame later: it must not shut what it led to.
  requestAnimationFrame(() => requestAnimationFrame(() => { if (made.isConnected) addEventListener("scroll", away, true); }));
  lines[0]?.focus();
}
