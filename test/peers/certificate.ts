import { execFileSync } from "node:child_process";
import { join } from "node:path";

/** Where a certificate and its key are. */
export interface KeyFiles {
  readonly key: string;
  readonly cert: string;
}

/** A certificate of this machine that is signed by itself, as `NAME.crt` and `NAME.key` in `folder`. `name` is its subject's. */
export function selfSigned(folder: string, name = "localhost", also: readonly string[] = []): KeyFiles {
  const files = { key: join(folder, `${name}.key`), cert: join(folder, `${name}.crt`) };
  const alternatives = `subjectAltName=${["localhost", ...also].map((one) => `DNS:${one}`).join(",")},IP:127.0.0.1`;
  const args = [
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-days",
    "2",
  ];
  args.push("-subj", `/CN=${name}`, "-addext", alternatives);
  execFileSync("openssl", [...args, "-keyout", files.key, "-out", files.cert], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  return files;
}
