import { readdirSync, readFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

interface Asset {
  readonly type: string;
  readonly plain: Buffer;
  readonly gzip: Buffer;
}

/**
 * The console's page, as built from console-ui/ into dist/console. Read once at the start: a few small files. Paths
 * that are no file get the page itself, whose own router shows them.
 */
export class Page {
  readonly #assets = new Map<string, Asset>();

  constructor(folder: string = fileURLToPath(new URL("../../dist/console/", import.meta.url))) {
    for (const name of filesIn(folder)) {
      const plain = readFileSync(join(folder, name));
      this.#assets.set(`/${name}`, {
        type: TYPES[name.split(".").at(-1) ?? ""] ?? "application/octet-stream",
        plain,
        gzip: gzipSync(plain),
      });
    }
  }

  get built(): boolean {
    return this.#assets.has("/index.html");
  }

  send(path: string, acceptEncoding: string, response: ServerResponse): boolean {
    const exact = this.#assets.get(path);
    const asset = exact ?? (path.startsWith("/assets/") ? undefined : this.#assets.get("/index.html"));
    if (asset === undefined) return false;
    const zipped = /\bgzip\b/.test(acceptEncoding);
    response.writeHead(200, {
      "content-type": asset.type,
      "content-length": zipped ? asset.gzip.length : asset.plain.length,
      // Built assets bear a hash in their name; the page does not.
      "cache-control": path.startsWith("/assets/") ? "public, max-age=31536000, immutable" : "no-cache",
      vary: "accept-encoding",
      ...(zipped && { "content-encoding": "gzip" }),
    });
    response.end(zipped ? asset.gzip : asset.plain);
    return true;
  }
}

function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) =>
        join(entry.parentPath, entry.name)
          .slice(folder.length)
          .replace(/^[/\\]+/, "")
          .replaceAll("\\", "/"),
      );
  } catch (error) {
    // Not built: the API works without its page, and the page's place says so.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
  json: "application/json",
  woff2: "font/woff2",
};
