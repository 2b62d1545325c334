import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

const PROGRAM = "/usr/sbin/nginx";

export interface Nginx {
  readonly port: number;
  readonly pid: number;
  stop(): void;
}

/** nginx as one process in `directory`, serving its download.bin and taking PUT; `undefined` where it is not installed. */
export async function startNginx(directory: string): Promise<Nginx | undefined> {
  if (!existsSync(PROGRAM)) return undefined;
  const place = join(directory, "nginx");
  mkdirSync(join(place, "put"), { recursive: true });
  const port = await freePort();
  const config = join(place, "nginx.conf");
  writeFileSync(config, configOf(place, directory, port));
  const child = spawn(PROGRAM, ["-p", place, "-c", config, "-e", join(place, "error.log")], {
    stdio: "ignore",
  });
  const left = new Promise<never>((_resolve, reject) => {
    child.on("exit", (code) => {
      if (code !== 0 && code !== null) reject(new Error(`nginx left with ${code}`));
    });
    child.on("error", reject);
  });
  await Promise.race([answers(port), left]);
  left.catch(() => undefined);
  return { port, pid: child.pid ?? 0, stop: () => void child.kill("SIGTERM") };
}

/** Processor time of a process, its own and the system's on its behalf, from the system's accounting. */
export function cpuUsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1]?.split(" ") ?? [];
  return ((Number(fields[11]) + Number(fields[12])) * 1_000_000) / TICKS_PER_SECOND;
}

function configOf(place: string, directory: string, port: number): string {
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${place}/${name};`)
    .join(" ");
  return `daemon off; master_process off; pid ${place}/pid; error_log ${place}/error.log;
${process.getuid?.() === 0 ? "user root;" : ""}
events { worker_connections 256; }
http {
  access_log off; sendfile on; ${paths}
  server {
    listen 127.0.0.1:${port};
    location = /download { alias ${directory}/download.bin; }
    location /put/ { root ${place}; dav_methods PUT; client_max_body_size 0; }
  }
}
`;
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

async function answers(port: number): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1", () => {
        socket.destroy();
        resolve(true);
      });
      socket.on("error", () => resolve(false));
    });
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("nginx does not answer");
}

/** USER_HZ, which Linux fixes at this. */
const TICKS_PER_SECOND = 100;
