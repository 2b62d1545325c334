import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Pair {
  readonly key: string;
  readonly cert: string;
}

const folder = mkdtempSync(join(tmpdir(), "holdfast-tls-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
let serial = 0;

/** A certificate for `names`, signed by itself, or by `by` for a client or another authority. */
export function certificate(
  names: readonly string[],
  options: { readonly kind?: "ec" | "rsa"; readonly days?: number; readonly by?: Pair } = {},
): Pair {
  const { kind = "ec", days = 30, by } = options;
  const [key, cert] = [join(folder, `${++serial}.key`), join(folder, `${serial}.pem`)];
  const algorithm = kind === "rsa" ? ["rsa:2048"] : ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
  const alternatives = names.map((name) => `DNS:${name}`).join(",");
  const signer: string[] = [];
  if (by !== undefined) {
    const [caKey, ca] = [join(folder, `${serial}-ca.key`), join(folder, `${serial}-ca.pem`)];
    writeFileSync(caKey, by.key);
    writeFileSync(ca, by.cert);
    signer.push("-CA", ca, "-CAkey", caKey);
  }
  const args = ["req", "-x509", "-newkey", ...algorithm, "-nodes", "-keyout", key, "-out", cert, ...signer];
  args.push("-days", String(days), "-subj", `/CN=${names[0] ?? "nobody"}`, "-addext");
  args.push(`subjectAltName=${alternatives}`);
  execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
  return { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
}

/** Where `text` lies as a file, for programs that want one. */
export function asFile(text: string): string {
  const path = join(folder, `${++serial}.txt`);
  writeFileSync(path, text);
  return path;
}
