import { randomBytes } from "node:crypto";
import { linkSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HoldfastError } from "../kernel/index.ts";
import type { TlsSessionsConfig } from "./config.ts";

/**
 * What the keys of TLS sessions are made from: as configured, or made at random once and kept in the data folder.
 * @throws HoldfastError `invalid-argument` when the file cannot be read or holds too little.
 */
export function tlsSecret(config: TlsSessionsConfig, data: string): string {
  const { secret, "secret-file": file } = config;
  if (secret !== undefined) return secret;
  return file === undefined ? ownSecret(data) : readSecret(file);
}

function ownSecret(data: string): string {
  const path = join(data, NAME);
  const written = `${path}.${process.pid}`;
  writeFileSync(written, `${randomBytes(32).toString("base64url")}\n`, { mode: 0o600 });
  try {
    // Whole or not at all, and never over one that is there: several gateways may start on one folder at once.
    linkSync(written, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(written);
  }
  return readSecret(path);
}

function readSecret(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, "utf8").trim();
  } catch (error) {
    throw new HoldfastError("invalid-argument", `The TLS secret ${path} cannot be read: ${String(error)}`, {
      cause: error,
    });
  }
  if (text.length >= LEAST) return text;
  throw new HoldfastError(
    "invalid-argument",
    `The TLS secret in ${path} has ${text.length} characters; it needs ${LEAST}, as "openssl rand -base64 32" prints them.`,
  );
}

const NAME = "tls-secret";
const LEAST = 32;
