import { chmodSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** How the command line on the same machine finds the gateway: a file that only its user can read. */
export interface AdminFile {
  readonly url: string;
  readonly token: string;
}

const NAME = "admin.json";

export function writeAdminFile(folder: string, admin: AdminFile): void {
  const path = join(folder, NAME);
  writeFileSync(`${path}.new`, `${JSON.stringify(admin)}\n`, { mode: 0o600 });
  chmodSync(`${path}.new`, 0o600);
  renameSync(`${path}.new`, path);
}

/** Undefined when there is none that can be read. */
export function readAdminFile(folder: string): AdminFile | undefined {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(join(folder, NAME), "utf8"));
  } catch {
    return undefined;
  }
  const { url, token } = (value ?? {}) as Record<string, unknown>;
  return typeof url === "string" && typeof token === "string" ? { url, token } : undefined;
}
