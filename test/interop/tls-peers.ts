import { readFileSync, writeFileSync } from "node:fs";
import type { AddressInfo, Server } from "node:net";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { TlsOptions } from "node:tls";
import { createServer } from "node:tls";
import type { KeyFiles as PairFiles } from "../peers/certificate.ts";
import { selfSigned } from "../peers/certificate.ts";
import { folder, freePort, serverProcess } from "../peers/process.ts";

export interface KeyFiles extends PairFiles {
  readonly folder: string;
}

/** A certificate for localhost and its key on an elliptic curve, which costs little to make and to use. */
export function keyFiles(t: TestContext): KeyFiles {
  const place = folder(t);
  const { cert, key } = selfSigned(place, "localhost", ["a.example", "b.example"]);
  // HAProxy wants both in one file.
  writeFileSync(join(place, "both.pem"), readFileSync(cert, "utf8") + readFileSync(key, "utf8"));
  return { folder: place, cert, key };
}

/** A Node server that says nothing and closes when its peer does. */
export async function nodeServer(
  t: TestContext,
  { cert, key }: KeyFiles,
  options: TlsOptions = {},
): Promise<number> {
  const server = createServer({ cert: readFileSync(cert), key: readFileSync(key), ...options }, (socket) => {
    socket.on("error", () => socket.destroy());
    socket.resume();
  });
  return listening(t, server);
}

export function listening(t: TestContext, server: Server): Promise<number> {
  t.after(() => server.close());
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
  });
}

/** HAProxy passing TCP on to each of `ports` in turn; it sees nothing of TLS. */
export async function haproxyTcp(t: TestContext, place: string, ports: readonly number[]): Promise<number> {
  const servers = ports.map((port, i) => `  server s${i} 127.0.0.1:${port}`).join("\n");
  return haproxy(
    t,
    place,
    (port) => `listen all\n  mode tcp\n  balance roundrobin\n  bind 127.0.0.1:${port}\n${servers}\n`,
  );
}

/** HAProxy with a configuration of one's own, in the foreground and in one process. */
export async function haproxy(
  t: TestContext,
  place: string,
  part: (port: number) => string,
): Promise<number> {
  const port = await freePort();
  const config = join(place, `haproxy-${port}.cfg`);
  const times = "defaults\n  timeout connect 10s\n  timeout client 60s\n  timeout server 60s\n";
  writeFileSync(config, `global\n  nbthread 1\n${times}${part(port)}`);
  await serverProcess(t, "haproxy", ["-db", "-q", "-f", config], port);
  return port;
}

/** nginx with these lines in its http block, in the foreground and in one process. */
export async function nginx(t: TestContext, place: string, http: (port: number) => string): Promise<number> {
  const port = await freePort();
  const config = join(place, `nginx-${port}.conf`);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (one) => `${one}_temp_path ${place}/${one};`,
  );
  writeFileSync(
    config,
    `daemon off;\nmaster_process off;\npid ${place}/nginx.pid;\nerror_log ${place}/error.log;\nevents {}\nhttp {\naccess_log off;\n${temporary.join("\n")}\n${http(port)}\n}\n`,
  );
  await serverProcess(t, "nginx", ["-p", place, "-e", join(place, "error.log"), "-c", config], port);
  return port;
}

/** openssl s_server, which closes when its peer does. */
export async function opensslServer(
  t: TestContext,
  { cert, key }: KeyFiles,
  more: readonly string[] = [],
): Promise<number> {
  const port = await freePort();
  await serverProcess(
    t,
    "openssl",
    ["s_server", "-accept", String(port), "-cert", cert, "-key", key, "-quiet", ...more],
    port,
  );
  return port;
}
