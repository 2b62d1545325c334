// The upload page's own script. Everything about resuming is in the client library; here is what people see of it.
import { blobSource, TransferError, upload } from "./client/index.js";

const root = document.querySelector("#uploads");
const list = document.querySelector("#list");
const drop = document.querySelector("#drop");
const slow = document.querySelector("#slow");
const chooser = document.querySelector("#file");
const key = `holdfast-uploads:${root.dataset.user}`;

const SLOW_BYTES = 256 * 1024;
const SLOW_MS = 250;

/** What earlier visits left behind, by fingerprint: where each upload can be found again. */
const kept = new Map(Object.entries(JSON.parse(localStorage.getItem(key) ?? "{}")));

function keep(fingerprint, state) {
  if (state === undefined) kept.delete(fingerprint);
  else kept.set(fingerprint, state);
  localStorage.setItem(key, JSON.stringify(Object.fromEntries(kept)));
}

/** One file on the page: from the moment it is dropped, or waiting for that since an earlier visit. */
class Item {
  constructor(name, total) {
    this.name = name;
    this.total = total;
    this.acknowledged = 0;
    this.rate = new Rate();
    this.element = document.createElement("li");
    this.element.innerHTML = `
      <div class="row"><b class="name"></b><span class="spacer"></span><span class="pill state" role="status"></span>
        <button type="button" class="quiet toggle"></button><button type="button" class="quiet forget">Remove</button></div>
      <div class="bar" role="progressbar" aria-valuemin="0" aria-valuemax="100"><i></i></div>
      <div class="soft small figures"></div>`;
    this.part(".name").textContent = name;
    this.part(".bar").setAttribute("aria-label", name);
    this.part(".toggle").addEventListener("click", () =>
      this.abort === undefined ? this.begin() : this.abort.abort(),
    );
    this.part(".forget").addEventListener("click", () => this.remove());
    list.prepend(this.element);
  }

  part(selector) {
    return this.element.querySelector(selector);
  }

  say(state, word, figures) {
    this.element.dataset.state = state;
    this.part(".state").textContent = word;
    this.part(".toggle").hidden = state === "done" || this.file === undefined;
    this.part(".toggle").textContent = this.abort === undefined ? "Go on" : "Pause";
    const share = this.total === 0 ? 100 : (this.acknowledged / this.total) * 100;
    this.part(".bar i").style.width = `${share}%`;
    this.part(".bar").setAttribute("aria-valuenow", String(Math.floor(share)));
    this.part(".figures").textContent =
      figures ?? `${size(this.acknowledged)} of ${size(this.total)} acknowledged${this.rate.text()}`;
  }

  async begin() {
    const { file } = this;
    const source = blobSource(file);
    this.abort = new AbortController();
    this.rate = new Rate();
    const paced = slow.checked;
    this.say("moving", "uploading");
    try {
      const done = await upload(
        { ...source, read: (start, end) => this.read(source, start, end, paced) },
        "/files",
        {
          chunkBytes: paced ? SLOW_BYTES : 8 * 1024 * 1024,
          resume: kept.get(source.fingerprint),
          signal: this.abort.signal,
          // The server may be away for as long as it likes.
          retry: { attempts: Infinity, maxDelayMs: 2_000 },
          onState: (state) => keep(source.fingerprint, state && { ...state, name: file.name }),
          onProgress: ({ acknowledged, restarted }) => this.moved(acknowledged, restarted),
          onRetry: (why) =>
            this.say("away", "waiting", `${why.message} It goes on by itself at ${size(this.acknowledged)}.`),
        },
      );
      this.finished(done);
    } catch (error) {
      this.abort = undefined;
      if (error instanceof TransferError && error.code === "paused") this.say("paused", "paused");
      else this.say("failed", "failed", error.message);
    }
  }

  /** Waits before a piece is sent, never while it is only read again to be compared. */
  async read(source, start, end, paced) {
    if (paced && start >= this.acknowledged) await new Promise((resolve) => setTimeout(resolve, SLOW_MS));
    return source.read(start, end);
  }

  moved(acknowledged, restarted) {
    this.acknowledged = acknowledged;
    this.rate.add(acknowledged);
    this.say("moving", restarted ? "starting over" : "uploading");
  }

  finished({ url, bytes, sentBytes, sha256, verified }) {
    this.abort = undefined;
    const again = sentBytes > bytes ? `, ${size(sentBytes - bytes)} of it twice` : "";
    this.element.dataset.sent = String(sentBytes);
    this.element.dataset.sha256 = [...sha256].map((one) => one.toString(16).padStart(2, "0")).join("");
    this.say("done", verified ? "done, digest right" : "done");
    const figures = this.part(".figures");
    figures.textContent = `${size(bytes)} arrived, ${size(sentBytes)} sent by this page${again} · sha-256 ${this.element.dataset.sha256.slice(0, 16)}… · `;
    const link = document.createElement("a");
    link.href = new URL(url).pathname;
    link.textContent = "Download it";
    figures.append(link);
  }

  remove() {
    this.abort?.abort();
    const fingerprint = this.file === undefined ? this.fingerprint : blobSource(this.file).fingerprint;
    const state = kept.get(fingerprint);
    // The server is told, too: its session ends, and its bytes go.
    if (state !== undefined) {
      fetch(state.url, { method: "DELETE", headers: { "Tus-Resumable": "1.0.0" } }).catch(() => {});
      keep(fingerprint, undefined);
    }
    items.delete(fingerprint);
    this.element.remove();
  }
}

const items = new Map();

function add(files) {
  for (const file of files) {
    const { fingerprint } = blobSource(file);
    const item = items.get(fingerprint) ?? new Item(file.name, file.size);
    items.set(fingerprint, item);
    if (item.abort !== undefined) continue;
    item.file = file;
    void item.begin();
  }
}

chooser.addEventListener("change", () => {
  add(chooser.files);
  chooser.value = "";
});
for (const type of ["dragenter", "dragover"])
  drop.addEventListener(type, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
for (const type of ["dragleave", "drop"]) drop.addEventListener(type, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  add(event.dataTransfer.files);
});

// ── what the server keeps, asked once a second ──────────────────────────────────────────────────────────────────

const server = document.querySelector("#server");
const sessions = document.querySelector("#sessions");

async function look() {
  try {
    const response = await fetch("/api/uploads", { signal: AbortSignal.timeout(2_000) });
    if (response.status === 401) {
      server.textContent = "you are signed out";
      server.className = "pill bad";
      sessions.replaceChildren();
      return;
    }
    show(await response.json());
    server.textContent = "the server answers";
    server.className = "pill";
  } catch {
    server.textContent = "the server is away";
    server.className = "pill away";
  }
}

function show(rows) {
  sessions.replaceChildren(
    ...rows.map(({ handle, label, state, position, total }) => {
      const row = document.createElement("li");
      row.innerHTML = `<div class="what"><div class="label"></div><div class="soft small"><code></code> · <span></span></div></div><span class="pill"></span>`;
      row.querySelector(".label").textContent = label ?? "a file without a name";
      row.querySelector("code").textContent = handle;
      row.querySelector("span").textContent =
        `checkpoint ${size(position)}${total === undefined ? "" : ` of ${size(total)}`}`;
      row.querySelector(".pill").textContent = state;
      return row;
    }),
  );
}

void (async () => {
  for (;;) {
    await look();
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
})();

// ── figures ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** Bytes a second over the last few seconds. */
class Rate {
  #points = [];

  add(bytes) {
    const at = performance.now();
    this.#points = [...this.#points.filter((one) => at - one.at < 5_000), { at, bytes }];
  }

  text() {
    const [first, last] = [this.#points[0], this.#points.at(-1)];
    if (first === undefined || last.at - first.at < 300) return "";
    return ` · ${size(((last.bytes - first.bytes) / (last.at - first.at)) * 1_000)}/s`;
  }
}

function size(bytes) {
  if (bytes < 1024) return `${Math.round(bytes)} B`;
  if (bytes < 1024 ** 2) return `${(bytes / 1024).toFixed(0)} KiB`;
  return bytes < 1024 ** 3
    ? `${(bytes / 1024 ** 2).toFixed(1)} MiB`
    : `${(bytes / 1024 ** 3).toFixed(2)} GiB`;
}

// ── what earlier visits left ───────────────────────────────────────────────────────────────────────────────────────

for (const [fingerprint, { name, size: total }] of kept) {
  const item = new Item(name, total);
  item.fingerprint = fingerprint;
  item.say(
    "paused",
    "unfinished",
    `From an earlier visit, ${size(total)}. Drop the same file again, and it goes on.`,
  );
  items.set(fingerprint, item);
}
