import { readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import type { Transfers } from "../../src/mechanisms/transfer/index.ts";
import { createTransfers, openDiskStorage } from "../../src/mechanisms/transfer/index.ts";
import type { Handle, Kernel, WebSession } from "../../src/web.ts";

/** What the page asks for once a second: the uploads under this login, as the kernel has them. */
export interface UploadRow {
  readonly handle: string;
  readonly label: string | undefined;
  readonly state: string;
  readonly position: number;
  readonly total: number | undefined;
}

/** Uploads of whoever is signed in. Each is a session under the login, so signing out ends it. */
export class Uploads {
  readonly #kernel: Kernel;
  readonly #transfers: Transfers;
  readonly #close: () => Promise<void>;

  private constructor(kernel: Kernel, transfers: Transfers, close: () => Promise<void>) {
    this.#kernel = kernel;
    this.#transfers = transfers;
    this.#close = close;
  }

  /** `signedIn`: the web session of a request. */
  static async open(
    kernel: Kernel,
    signedIn: (request: object) => Pick<WebSession, "principal" | "handle">,
    folder: string,
  ): Promise<Uploads> {
    const store = await openDiskStorage(join(folder, "demo-uploads"));
    const transfers = createTransfers({
      kernel,
      store,
      policy: { path: UPLOADS, maxBytes: 4 * 1024 ** 3, commitBytes: 1 << 20, movingMs: 1_000 },
      authorize: ({ request }) => {
        const { principal, handle } = signedIn(request);
        return principal === undefined || handle === undefined
          ? { allow: false, status: 401, why: "sign in first" }
          : { allow: true, principal, parent: handle };
      },
    });
    return new Uploads(kernel, transfers, async () => {
      await transfers.close();
      await store.close();
    });
  }

  /** The request is answered by the transfer mechanism when it is one of an upload. */
  async answer(request: IncomingMessage, response: ServerResponse, path: string): Promise<boolean> {
    if (path !== UPLOADS && !path.startsWith(`${UPLOADS}/`)) return false;
    await this.#transfers.node(request, response);
    return true;
  }

  /** Under a login. */
  async of(parent: Handle | undefined): Promise<readonly UploadRow[]> {
    const rows: UploadRow[] = [];
    if (parent === undefined) return rows;
    for await (const { handle, label, state, checkpoint } of this.#kernel.sessions({
      parent,
      mechanism: "transfer",
    }))
      rows.push({ handle, label, state, position: checkpoint?.position ?? 0, total: checkpoint?.total });
    return rows;
  }

  close(): Promise<void> {
    return this.#close();
  }
}

/** The page's script and the client library that it imports, as the browser asks for them. */
export async function script(path: string): Promise<string | undefined> {
  if (path === "/script/uploads.js")
    return readFile(new URL("examples/demo/browser/uploads.js", ROOT), "utf8");
  const name = path.startsWith("/script/client/") ? path.slice("/script/client/".length) : "";
  if (!CLIENT.includes(name)) return undefined;
  return readFile(new URL(`../../src/mechanisms/transfer/client/${name}`, import.meta.url), "utf8");
}

const UPLOADS = "/files";
/** `holdfast/transfer/client`, module by module, as it was compiled: browsers need nothing else. */
const CLIENT: readonly string[] = ["index", "upload", "retry", "answers", "parallel", "sha256"].map(
  (name) => `${name}.js`,
);
/** From build/examples/demo, where this file is compiled to. */
const ROOT = new URL("../../../", import.meta.url);
