// Sends files: small ones many in one body, large ones by tus, so that a cut costs little. Knows nothing of the page.
// docs/formats/upload-batch.md; https://tus.io/protocols/resumable-upload.

const MIB = 1024 * 1024;
const SMALL = 8 * MIB; // larger ones go by tus
const BATCH = 8 * MIB; // bytes in one body
const BATCH_FILES = 1000;
const AT_ONCE = 3;
const CHUNK = 64 * MIB;
const SMALLEST_CHUNK = 4 * MIB;
const CHUNK_S = 20; // a chunk takes about so long: a session is not idle, and a damaged chunk is soon sent again
const PAUSES = [1, 2, 4, 8, 15, 30]; // seconds; then every 30
const LONGEST = 720; // tries: six hours without the box
const MODEST = (navigator.deviceMemory ?? 8) <= 2;

const utf8 = new TextEncoder();
const subtle = globalThis.crypto?.subtle;

function base64(bytes) {
  let text = "";
  for (const each of bytes) text += String.fromCharCode(each);
  return btoa(text);
}
const base64url = (text) => base64(utf8.encode(text)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
const sha256 = async (buffer) => base64(new Uint8Array(await subtle.digest("SHA-256", buffer)));

class Refused extends Error {
  constructor(status, body) { super(body?.error?.message ?? ""); this.status = status; this.code = body?.error?.code ?? ""; }
}

// What stands on a shared computer afterwards: an address only its owner's session can use, under a hash; no name.
class Memory {
  constructor() { this.prefix = "armoire-upload:"; }
  async findAllUploads() { return []; }
  async findUploadsByFingerprint(print) {
    const key = this.prefix + print;
    const found = localStorage.getItem(key);
    return found ? [{ ...JSON.parse(found), urlStorageKey: key }] : [];
  }
  async removeUpload(key) { localStorage.removeItem(key); }
  async addUpload(print, upload) {
    const key = this.prefix + print;
    localStorage.setItem(key, JSON.stringify({ uploadUrl: upload.uploadUrl, size: upload.size, metadata: {}, creationTime: upload.creationTime }));
    return key;
  }
}

// A file in pieces, each with its checksum; the next one is read while one is on its way.
class Source {
  constructor(file) { this.file = file; this.size = file.size; this.ready = null; this.checksum = ""; }
  prepare(start, end) {
    const made = (async () => {
      const buffer = await this.file.slice(start, end).arrayBuffer();
      return { blob: new Blob([buffer]), checksum: subtle ? `sha256 ${await sha256(buffer)}` : "" };
    })();
    made.catch(() => {}); // asked for below
    return { start, end, made };
  }
  async slice(start, end) {
    end = Math.min(end, this.size);
    const ready = this.ready?.start === start && this.ready.end === end ? this.ready : this.prepare(start, end);
    const { blob, checksum } = await ready.made;
    this.checksum = checksum;
    this.ready = end < this.size && !MODEST ? this.prepare(end, Math.min(this.size, end + (end - start))) : null;
    return { value: blob, done: end >= this.size };
  }
  close() { this.ready = null; }
}

export class Sender {
  // api: «/api/v1/disk/name» or «/l/token»; folder: base64url; library: address of tus;
  // hears: changed(), sent(item), refused(item), stopped(reason, message)
  constructor({ api, folder, library, hears, knows }) {
    Object.assign(this, { api, folder, library, hears, knows });
    this.small = []; this.large = [];
    this.running = new Set(); // what can be aborted
    this.total = 0; this.bytes = 0; this.done = 0; this.refused = 0;
    this.partly = new Map(); // what is on its way → bytes of it that went
    this.stopped = ""; this.waiting = 0;
    this.workers = 0; this.isLarge = false;
  }

  get sent() { let sum = this.bytes; for (const each of this.partly.values()) sum += each; return sum; }
  get size() { return this.whole ?? 0; }
  get isBusy() { return this.workers > 0 || this.isLarge; }
  get left() { return this.small.length + this.large.length; }

  // items: {file, path, replaces}; path: below the folder, with «/»
  add(items) {
    for (const item of items) {
      this.total += 1; this.whole = this.size + item.file.size;
      (item.file.size > SMALL ? this.large : this.small).push(item);
    }
    this.go();
  }

  go() {
    this.stopped = "";
    while (this.workers < AT_ONCE && this.workers < Math.ceil(this.small.length / 4)) this.batches();
    if (!this.isLarge && this.large.length) this.files();
    this.hears.changed();
  }

  cancel() {
    this.stop("cancelled");
    this.small = []; this.large = [];
  }

  stop(reason, message = "") {
    if (this.stopped) return;
    this.stopped = reason;
    for (const each of this.running) each.abort(reason === "cancelled");
    this.hears.stopped(reason, message);
  }

  finished(item, error) {
    if (error) { this.refused += 1; item.error = error; this.whole -= item.file.size; this.hears.refused(item); }
    else { this.done += 1; this.bytes += item.file.size; this.hears.sent(item); }
  }

  // --- many small ones ----------------------------------------------------------------------

  async batches() {
    this.workers += 1;
    try {
      while (this.small.length && !this.stopped) {
        const some = []; let size = 0;
        while (this.small.length && some.length < BATCH_FILES && (!some.length || size + this.small[0].file.size <= BATCH)) {
          const item = this.small.shift(); some.push(item); size += item.file.size;
        }
        await this.batch(some);
      }
    } finally { this.workers -= 1; this.hears.changed(); }
  }

  async batch(items) {
    const body = await this.packed(items);
    if (!body) return;
    const key = {};
    let tries = 0, damaged = 0;
    for (;;) {
      if (this.stopped) { if (this.stopped !== "cancelled") this.small.unshift(...items); break; }
      try {
        const found = await this.post(`${this.api}/batch?p=${this.folder}`, body, key);
        this.partly.delete(key); this.waiting = 0;
        await this.outcomes(items, found.files, tries > 0);
        break;
      } catch (error) {
        this.partly.delete(key);
        if (this.stopped) continue;
        if (error.status === 401 || error.status === 403 || error.status === 410) { this.stop("signed-out", error.message); continue; }
        if (error.status === 507) { this.stop("full", error.message); continue; }
        if (error.status === 460 && damaged < 3) { damaged += 1; continue; }
        if (!error.status || error.status >= 500 || error.status === 423 || error.status === 429) {
          if (tries >= LONGEST) { this.stop("lost"); continue; }
          await this.pause(tries); tries += 1;
          continue;
        }
        if (items.length === 1) this.finished(items[0], error);
        else {
          // One of them is not liked: the others go on.
          const half = Math.ceil(items.length / 2);
          await this.batch(items.slice(0, half));
          await this.batch(items.slice(half));
        }
        break;
      }
    }
    this.hears.changed();
  }

  // The whole body with the digest of its bytes, or null when nothing is left to send.
  async packed(items) {
    try {
      // Each read by itself: nearly three times as fast as one Blob of them all.
      const read = await Promise.all(items.map(({ file }) => file.arrayBuffer()));
      const heads = items.map(({ file, path, replaces }, place) => {
        const head = { path: base64url(path), size: read[place].byteLength };
        if (file.lastModified) head.mtime_ns = file.lastModified * 1e6;
        if (replaces) head.replaces = true;
        return utf8.encode(JSON.stringify(head));
      });
      const body = new Uint8Array(heads.reduce((sum, head, place) => sum + 4 + head.length + read[place].byteLength, 0));
      const view = new DataView(body.buffer);
      let at = 0;
      heads.forEach((head, place) => {
        view.setUint32(at, head.length);
        body.set(head, at + 4);
        body.set(new Uint8Array(read[place]), at + 4 + head.length);
        at += 4 + head.length + read[place].byteLength;
      });
      return { blob: new Blob([body]), digest: subtle ? `sha-256=:${await sha256(body.buffer)}:` : "" };
    } catch (error) {
      // A file that cannot be read any more takes no other with it.
      if (items.length === 1) { this.finished(items[0], error); return null; }
      for (const item of items) await this.batch([item]);
      return null;
    }
  }

  post(address, { blob, digest }, key) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", address);
      request.responseType = "json";
      request.setRequestHeader("accept", "application/json");
      request.setRequestHeader("content-type", "application/octet-stream");
      if (digest) request.setRequestHeader("content-digest", digest);
      request.upload.onprogress = (event) => { this.partly.set(key, event.loaded); this.hears.changed(); };
      request.onload = () => (request.status < 300 ? resolve(request.response) : reject(new Refused(request.status, request.response)));
      request.onerror = request.onabort = request.ontimeout = () => reject(new Refused(0));
      request.onloadend = () => this.running.delete(request);
      this.running.add(request);
      request.send(blob);
    });
  }

  async outcomes(items, files, wasTried) {
    const taken = [];
    files.forEach((each, place) => {
      if (!each.error) this.finished(items[place]);
      else if (each.error.code === "disk.name-taken") taken.push([items[place], each.error]);
      else this.finished(items[place], each.error);
    });
    // The answer to a first try may have been lost after the files had their names.
    const same = wasTried && taken.length ? await this.knows(taken.map(([item]) => item)).catch(() => new Set()) : new Set();
    for (const [item, error] of taken) this.finished(item, same.has(item) ? undefined : error);
  }

  // --- large ones ---------------------------------------------------------------------------

  async files() {
    this.isLarge = true;
    try {
      if (!globalThis.tus) await loaded(this.library);
      while (this.large.length && !this.stopped) {
        const item = this.large.shift();
        await (item.arrived ? this.name(item) : this.file(item));
      }
    } catch { this.stop("lost"); } finally { this.isLarge = false; this.hears.changed(); }
  }

  async file(item) {
    const { file, path, replaces } = item;
    const key = {};
    const source = new Source(file);
    let signedOut = null, tries = 0, damaged = 0, before = null;
    const fingerprint = subtle
      ? [...new Uint8Array(await subtle.digest("SHA-256", utf8.encode(JSON.stringify([this.api, this.folder, path, file.size, file.lastModified]))))]
        .map((each) => each.toString(16).padStart(2, "0")).join("") : null;
    await new Promise((resolve) => {
      const end = (error) => { this.running.delete(running); this.partly.delete(key); if (error !== null) this.finished(item, error); this.hears.changed(); resolve(); };
      const upload = new tus.Upload(file, {
        endpoint: `${this.api}/uploads?p=${this.folder}`,
        metadata: { path, ...(file.lastModified ? { mtime_ns: `${file.lastModified}000000` } : {}), ...(replaces ? { replaces: "1" } : {}) },
        chunkSize: MODEST ? 8 * MIB : CHUNK / 4,
        fingerprint: async () => fingerprint,
        storeFingerprintForResuming: fingerprint !== null,
        removeFingerprintOnSuccess: true,
        urlStorage: new Memory(),
        fileReader: { openFile: async () => source },
        headers: { accept: "application/json" },
        retryDelays: Array.from({ length: LONGEST }, (_, place) => 1000 * (PAUSES[place] ?? PAUSES.at(-1))),
        onBeforeRequest: (request) => {
          if (request.getMethod() === "PATCH" && source.checksum) request.setHeader("Upload-Checksum", source.checksum);
        },
        onAfterResponse: (request, response) => {
          this.waiting = 0;
          // tus-js-client would forget where the upload is.
          if ([401, 403, 410].includes(response.getStatus())) { signedOut = told(response); throw new Error("signed out"); }
        },
        onShouldRetry: (error) => {
          const status = error.originalResponse?.getStatus() ?? 0;
          if (signedOut || error.message.includes("NotReadable") || error.causingError?.name === "NotReadableError") return false;
          if (status === 460) { damaged += 1; return damaged < 4; }
          if (status === 507 || (status >= 400 && status < 500 && ![409, 423, 429].includes(status))) return false;
          if (status === 409 && told(error.originalResponse).code) return false; // a taken name; without a code: another offset
          this.wait(tries); tries += 1;
          return true;
        },
        onProgress: (sent) => { this.partly.set(key, sent); this.hears.changed(); },
        onChunkComplete: (size) => {
          tries = 0;
          const now = performance.now();
          if (before !== null && !MODEST) {
            const speed = size / (now - before) * 1000;
            upload.options.chunkSize = Math.max(SMALLEST_CHUNK, Math.min(CHUNK, Math.round(speed * CHUNK_S / MIB) * MIB));
          }
          before = now;
        },
        onSuccess: () => end(undefined),
        onError: async (error) => {
          const response = error.originalResponse;
          const status = response?.getStatus() ?? 0;
          const words = signedOut ?? (response ? told(response) : {});
          if (signedOut) { this.large.unshift(item); end(null); this.stop("signed-out", words.message); }
          else if (status === 507) { this.large.unshift(item); end(null); this.stop("full", words.message); }
          else if (error.causingError?.name === "NotReadableError") end(error.causingError);
          else if (!status) { this.large.unshift(item); end(null); this.stop("lost"); }
          else if (words.code === "disk.name-taken" && (await this.knows([item]).catch(() => new Set())).has(item)) end(undefined);
          else {
            // The bytes are there, only the name was taken meanwhile: another one is enough.
            if (words.code === "disk.name-taken" && error.originalRequest?.getMethod() === "PATCH") item.arrived = upload.url;
            end(words.code ? words : new Refused(status));
          }
        },
      });
      const running = { abort: (forGood) => {
        upload.abort(forGood).catch(() => {});
        if (!forGood) this.large.unshift(item);
        end(null);
      } };
      this.running.add(running);
      upload.findPreviousUploads().then((found) => {
        if (found.length) upload.resumeFromPreviousUpload(found[0]);
        if (!this.stopped) upload.start();
      });
    });
  }

  async name(item) {
    const name = item.path.split("/").at(-1);
    const answer = await fetch(`${item.arrived}/name`, {
      method: "POST", headers: { "content-type": "application/json", accept: "application/json" },
      body: JSON.stringify({ name, replaces: Boolean(item.replaces) }),
    });
    this.finished(item, answer.ok ? undefined : (await answer.json().catch(() => ({}))).error ?? new Refused(answer.status));
  }

  wait(tries) { this.waiting = Date.now() + 1000 * (PAUSES[tries] ?? PAUSES.at(-1)); this.hears.changed(); }

  async pause(tries) {
    this.wait(tries);
    const until = this.waiting;
    while (Date.now() < until && !this.stopped) await new Promise((resolve) => { setTimeout(resolve, 200); });
  }
}

function told(response) {
  try { return JSON.parse(response.getBody()).error ?? {}; } catch { return {}; }
}

let loading;
function loaded(address) {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address; script.onload = resolve;
    script.onerror = () => { loading = undefined; reject(new Error("tus")); };
    document.head.append(script);
  });
  return loading;
}
