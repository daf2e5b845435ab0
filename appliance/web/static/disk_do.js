// What is done to the chosen files: each asks the server, which decides again, and says what became of it.
import { ask, choose, clash, details, progress, toast } from "./disk_dialogs.js";
import { above, bytesOf, element, join, lastOf, readable } from "./disk_text.js";

export async function call(address, body, words, signal) {
  let answer;
  try {
    answer = await fetch(address, body === undefined ? {} : {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal,
    });
  } catch (error) { throw error.name === "AbortError" ? error : new Error(words.lost); }
  if (answer.status === 401) { location.reload(); throw new Error(words.lost); }
  if (answer.ok) return answer;
  const found = await answer.json().catch(() => ({}));
  throw new Error(found.error?.message ?? words.lost);
}

// `page`: share, folder, api, rights, words; chosen() → [{ path, name, kind, size, changed }]; load(); busy(is).
function post(address, found, here) {
  const made = element("form"); made.method = "post"; made.action = address; made.hidden = true;
  for (const each of found) {
    const field = element("input"); field.name = "p"; field.value = each.path; made.append(field);
  }
  if (here !== undefined) { const field = element("input"); field.name = "here"; field.value = here; made.append(field); }
  document.body.append(made); made.submit(); made.remove();
}

export function actions(page) {
  const { share, folder, api, rights, words } = page;
  const complain = (error) => { if (error.name !== "AbortError") toast(error.message, { grave: true }); };

  async function together(verb, body) {
    page.busy(true);
    try {
      const { done } = await (await call(`${api}/${verb}`, body, words)).json();
      return { done: done.filter((each) => !each.code), wrong: done.filter((each) => each.code) };
    } catch (error) { complain(error); return null; } finally { page.busy(false); await page.load().catch(complain); }
  }

  function tell(result, text, way = {}) {
    if (!result) return;
    if (result.wrong.length) toast(`${words.failed.replace("#", result.wrong.length)} ${result.wrong[0].message}`, { grave: true });
    if (result.done.length && text) toast(text.replace("#", result.done.length), way);
  }

  // A move or a copy, told as it goes; what has a taken name is asked about once, then done.
  async function long(verb, body) {
    const stop = new AbortController();
    const going = progress(words[verb === "move" ? "moving" : "copying"], words, () => stop.abort());
    page.busy(true);
    try {
      const answer = await call(`${api}/${verb}?stream=1`, body, words, stop.signal);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "", done = [];
      for (;;) {
        const { value, done: ended } = await reader.read();
        if (ended) break;
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        for (const line of lines) {
          const found = JSON.parse(line);
          if (found.done) done = found.done; else going.tell(found.bytes, found.total);
        }
      }
      return { done: done.filter((each) => !each.code && each.new_path), wrong: done.filter((each) => each.code) };
    } catch (error) { complain(error); return null; } finally {
      going.end(); page.busy(false); await page.load().catch(complain);
    }
  }

  async function transfer(verb, items, to) {
    const body = { items, folder: to.folder, to_share: to.share === share ? "" : to.share };
    const result = await long(verb, body);
    if (!result) return;
    let taken = result.wrong.filter((each) => each.code === "disk.name-taken");
    if (taken.length) {
      result.wrong = result.wrong.filter((each) => each.code !== "disk.name-taken");
      const names = taken.map((each) => new TextDecoder().decode(lastOf(each.path)));
      const answer = await clash(names, words, to.share !== share || rights.has("delete"));
      if (answer && answer !== "skip") {
        const again = await long(verb, { ...body, items: taken.map((each) => each.path), on_clash: answer });
        if (again) { result.done.push(...again.done); result.wrong.push(...again.wrong); taken = []; }
      }
    }
    const isSimple = verb === "move" && to.share === share && !taken.length && result.done.length;
    tell(result, words.done, isSimple ? { action: words.undo, act: () => undo(result.done) } : {});
  }

  async function undo(done) {
    const by = new Map(); // folder it was in → where the things are now
    for (const each of done) {
      const from = above(each.path);
      by.set(from, [...(by.get(from) ?? []), each.new_path]);
    }
    for (const [from, items] of by) tell(await together("move", { items, folder: from, on_clash: "both" }));
  }

  return {
    async remove() {
      if (!rights.has("delete")) return;
      const items = page.chosen().map((each) => each.path);
      if (!items.length) return;
      const result = await together("delete", { items });
      tell(result, words.deleted, { action: words.undo, act: async () => {
        for (const each of result.done) await call(`${api}/bin/${each.bin_id}/put-back`, {}, words).catch(complain);
        await page.load().catch(complain);
      } });
    },
    async rename() {
      const [one] = page.chosen();
      if (!rights.has("change") || !one) return;
      const name = await ask(words.rename, words.new_name, one.name, words);
      if (!name || name === one.name) return;
      const result = await together("move", { items: [one.path], folder, new_name: name });
      tell(result, result?.done.length ? words.renamed : "", { action: words.undo, act: async () => {
        tell(await together("move", { items: [result.done[0].new_path], folder, new_name: one.name }));
      } });
    },
    async carry(verb) {
      const items = page.chosen().map((each) => each.path);
      if (!items.length) return;
      const to = await choose(verb === "move" ? words.move : words.copy, share, folder, words);
      if (to) await transfer(verb, items, to);
    },
    drop: (items, to, isCopy) => transfer(isCopy ? "copy" : "move", items, { share, folder: to }),
    download() {
      const found = page.chosen();
      if (!found.length) return;
      if (found.length === 1 && found[0].kind === "f") { location.href = `/disk/${share}/file?p=${found[0].path}`; return; }
      post(`/disk/${share}/zip`, found);
    },
    caseCopy() {
      const found = page.chosen();
      if (found.length) post(`/disk/${share}/case-copy`, found, folder);
    },
    async makeFolder() {
      const name = await ask(words.new_folder, words.folder_name, "", words, words.make);
      if (!name) return;
      const path = join(folder, bytesOf(name));
      try { await call(`${api}/folders`, { path }, words); } catch (error) { complain(error); return; }
      await page.load(name).catch(complain);
    },
    versions() { const [one] = page.chosen(); if (one) location.href = pastOf(one); },
    shareOut() { const [one] = page.chosen(); if (one) location.href = `/links/new?share=${share}&p=${one.path}`; },
    details() {
      const [one] = page.chosen();
      if (!one) return;
      const inner = readable(one.path).replaceAll("/", "\\");
      const address = page.isOverSmb ? `\\\\${location.hostname}\\${share}\\${inner}` : "";
      const asked = (verb, body) => call(`${api}/${verb}`, body, words).then((each) => each.json());
      details({ ...one, share, address, versions: pastOf(one) }, words, asked);
    },
  };

  function pastOf(one) { return one.kind === "d" ? `/disk/${share}/past?p=${one.path}` : `/disk/${share}/versions?p=${one.path}`; }
}
