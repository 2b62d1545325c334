import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { nodeHash } from "../../mechanisms/transfer/client/files.ts";
import type { UploadSource, UploadState } from "../../mechanisms/transfer/client/index.ts";
import { TransferError, upload } from "../../mechanisms/transfer/client/index.ts";
import type { Transfers, TransferStorage } from "../../mechanisms/transfer/index.ts";
import { createTransfers, createTransferServer, openDiskStorage } from "../../mechanisms/transfer/index.ts";
import type { Part, PartKind, Person, Stage } from "./part.ts";
import { chance, pick } from "./part.ts";

/** Files on their way over slow lines: some arrive, some wait half way until their owner comes back, some are given up; and some are read again. */
export const transfer: PartKind = async (stage) => {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-demo-uploads-"));
  try {
    const store = await openDiskStorage(folder);
    const secret = randomBytes(16).toString("hex");
    const transfers = createTransfers({
      kernel: stage.kernel,
      store,
      // Short, so that nothing is left for long of a demo that was killed.
      policy: { expiresMs: 5 * 60_000, maxAgeMs: 30 * 60_000, maxBytes: LARGEST, watermarkBytes: 0 },
      authorize: ({ header }) => {
        const [scheme, password, principal] = (header("authorization") ?? "").split(" ");
        return scheme === "Demo" && password === secret && principal !== undefined
          ? { allow: true, principal }
          : { allow: false, status: 403, why: "only the demo's people upload here" };
      },
      onFault: stage.onFault,
    });
    const server = createTransferServer(transfers, stage.onFault).listen(0, "127.0.0.1");
    await once(server, "listening");
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/files`;
    return new TransferPart(stage, { folder, store, transfers, server, endpoint, secret });
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
};

interface Place {
  readonly folder: string;
  readonly store: TransferStorage;
  readonly transfers: Transfers;
  readonly server: Server;
  readonly endpoint: string;
  readonly secret: string;
}

class TransferPart implements Part {
  readonly mechanism = "transfer";
  readonly #people: readonly Person[];
  readonly #place: Place;
  readonly #onFault: (error: unknown) => void;
  readonly #errands = new Set<Errand>();

  constructor({ people, onFault }: Stage, place: Place) {
    this.#people = people;
    this.#onFault = onFault;
    this.#place = place;
  }

  step(): Promise<void> {
    const most = Math.max(2, Math.ceil(this.#people.length / 2));
    if (this.#errands.size < most && (this.#errands.size === 0 || chance(0.5))) {
      const errand = new Errand(this.#place, pick(this.#people), this.#onFault);
      this.#errands.add(errand);
      errand.goOn();
    } else pick([...this.#errands]).step();
    for (const errand of this.#errands) if (errand.over) this.#errands.delete(errand);
    return Promise.resolve();
  }

  async close(): Promise<void> {
    const { transfers, server, store, folder } = this.#place;
    await Promise.all([...this.#errands].map((errand) => errand.giveUp()));
    await transfers.close();
    server.closeAllConnections();
    server.close();
    await store.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** One file that somebody sends, with breaks. */
class Errand {
  over = false;
  readonly #place: Place;
  readonly #source: UploadSource;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #onFault: (error: unknown) => void;
  #state: UploadState | undefined;
  #line: AbortController | undefined;
  #running: Promise<void> = Promise.resolve();
  #leaving = false;

  constructor(place: Place, person: Person, onFault: (error: unknown) => void) {
    this.#place = place;
    this.#onFault = onFault;
    this.#headers = { authorization: `Demo ${place.secret} ${person.name}`, "user-agent": person.agent };
    this.#source = sourceOf(pick(FILES), Math.round(SMALLEST + Math.random() * (LARGEST - SMALLEST)));
  }

  goOn(): void {
    const line = new AbortController();
    this.#line = line;
    let begun = this.#state !== undefined;
    this.#running = upload(this.#source, this.#place.endpoint, {
      headers: this.#headers,
      hash: nodeHash,
      chunkBytes: CHUNK_BYTES,
      signal: line.signal,
      ...(this.#state !== undefined && { resume: this.#state }),
      onState: (state) => {
        this.#state = state;
        // Revoked, or lost: who sent it does not try again.
        if (begun && state === undefined) line.abort();
        begun = true;
      },
    })
      .then(async ({ url }) => {
        this.#state = undefined;
        this.#line = new AbortController();
        if (!this.#leaving) await this.#fetchBack(url, this.#line.signal);
        await this.#remove(url);
        this.over = true;
      })
      .catch((error: unknown) => {
        this.over = this.#state === undefined;
        // Revocations, locks and limits are there to be tried on them.
        if (!(error instanceof TransferError)) this.#onFault(error);
      })
      .finally(() => (this.#line = undefined));
  }

  /** The line breaks, or its owner comes back, or loses interest. */
  step(): void {
    if (this.over) return;
    if (this.#line === undefined) {
      if (chance(0.1)) this.giveUp().catch(this.#onFault);
      else if (chance(0.6)) this.goOn();
    } else if (chance(0.35)) this.#line.abort();
  }

  /** What has arrived is looked at once, over the same slow line, and makes room then. */
  async #fetchBack(url: string, signal: AbortSignal): Promise<void> {
    try {
      const response = await fetch(url, { headers: this.#headers, signal });
      for await (const _ of response.body ?? []) await sleep(10 + Math.random() * 40, undefined, { signal });
    } catch {
      // The line broke, or somebody revoked it: part of the show.
    }
  }

  async giveUp(): Promise<void> {
    this.#leaving = true;
    this.#line?.abort();
    await this.#running;
    this.over = true;
    const state = this.#state;
    if (state === undefined) return;
    this.#state = undefined;
    await this.#remove(state.url);
  }

  async #remove(url: string): Promise<void> {
    const headers = { ...this.#headers, "Tus-Resumable": "1.0.0" };
    await (await fetch(url, { method: "DELETE", headers })).arrayBuffer();
  }
}

/** Bytes that nobody has to keep: each piece is the same again when it is read again, and comes as slowly as over a slow line. */
function sourceOf(name: string, size: number): UploadSource {
  const pattern = randomBytes(CHUNK_BYTES);
  let furthest = 0;
  return {
    size,
    name,
    type: name.endsWith(".mp4") ? "video/mp4" : "application/octet-stream",
    read: async (start, end) => {
      if (end > furthest) await sleep(200 + Math.random() * 500);
      furthest = Math.max(furthest, end);
      const bytes = new Uint8Array(end - start);
      for (let at = start; at < end;) {
        const from = at % pattern.length;
        const piece = pattern.subarray(from, from + Math.min(pattern.length - from, end - at));
        bytes.set(piece, at - start);
        at += piece.length;
      }
      return bytes;
    },
  };
}

const FILES = [
  "holiday.mp4",
  "backup.tar",
  "survey.parquet",
  "drawings.zip",
  "interview.wav",
  "disk-image.iso",
] as const;
const CHUNK_BYTES = 192 * 1024;
const SMALLEST = 4 * 1024 * 1024;
const LARGEST = 24 * 1024 * 1024;
