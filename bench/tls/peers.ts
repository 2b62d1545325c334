import { execFileSync, fork, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { answers, end, freePort, onPath } from "../programs.ts";

/** How the Node servers keep sessions: by Node's own tickets, or by ours; to `full` clients come with nothing. */
export type Kind = "full" | "stock" | OurKind;
export type OurKind = "ticket" | "cache" | "ticket shared" | "cache shared";

/** A running server under measurement. */
export interface Peer {
  readonly name: string;
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

/** Writes a certificate on an elliptic curve, its key, and both in one file as HAProxy wants them. */
export function makeCertificate(place: string): void {
  const [cert, key] = [join(place, "cert.pem"), join(place, "key.pem")];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const about = ["-days", "2", "-subj", "/CN=localhost"];
  execFileSync("openssl", ["req", "-x509", ...curve, "-keyout", key, "-out", cert, ...about], {
    stdio: "ignore",
  });
  writeFileSync(join(place, "both.pem"), readFileSync(cert, "utf8") + readFileSync(key, "utf8"));
}

export async function startNode(kind: Kind, place: string): Promise<Peer> {
  const child = fork(fileURLToPath(new URL("./server.js", import.meta.url)), [kind, place]);
  const port = await new Promise<number>((resolve, reject) => {
    child.once("message", (message: { port: number }) => resolve(message.port));
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
  });
  return { name: kind, port, pid: child.pid ?? 0, stop: () => end(child) };
}

/** `undefined` where it is not installed. */
export async function startNginx(place: string): Promise<Peer | undefined> {
  const path = onPath("nginx");
  if (path === undefined) return undefined;
  const port = await freePort();
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (one) => `${one}_temp_path ${place}/${one};`,
  );
  const server = `server { listen 127.0.0.1:${port} ssl; ssl_certificate ${place}/cert.pem; ssl_certificate_key ${place}/key.pem; ssl_protocols TLSv1.2 TLSv1.3; return 200; }`;
  const config = join(place, "nginx.conf");
  writeFileSync(
    config,
    `daemon off; master_process off; pid ${place}/nginx.pid; events {} http { access_log off; ${temporary.join(" ")} ${server} }\n`,
  );
  const log = join(place, "nginx.log");
  return outside("nginx", spawn(path, ["-p", place, "-e", log, "-c", config], { stdio: "ignore" }), port);
}

export async function startHaproxy(place: string): Promise<Peer | undefined> {
  const path = onPath("haproxy");
  if (path === undefined) return undefined;
  const port = await freePort();
  const config = join(place, "haproxy.cfg");
  const times = "  timeout connect 10s\n  timeout client 60s\n  timeout server 60s\n";
  writeFileSync(
    config,
    `global\n  nbthread 1\ndefaults\n  mode http\n${times}frontend web\n  bind 127.0.0.1:${port} ssl crt ${place}/both.pem\n  http-request return status 200\n`,
  );
  return outside("haproxy", spawn(path, ["-db", "-q", "-f", config], { stdio: "ignore" }), port);
}

async function outside(name: string, child: ChildProcess, port: number): Promise<Peer> {
  for (let attempt = 0; attempt < 400 && !(await answers(port)); attempt++) {
    if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode} before it listened`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  return { name, port, pid: child.pid ?? 0, stop: () => end(child) };
}

/** CPU seconds of all living threads of a process, to the nanosecond: proc(5), /proc/PID/schedstat. */
export function cpuSeconds(pid: number): number {
  let nanoseconds = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const spent = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ", 1)[0];
    nanoseconds += Number(spent);
  }
  return nanoseconds / 1e9;
}
