import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

const PROGRAM = join(import.meta.dirname, "../../examples/upload-server.js");

/** The example server as a process of its own on a port that stays, to be killed and started again. */
export class UploadServer {
  readonly #directory: string;
  readonly #port: number;
  #child: ChildProcess | undefined;

  private constructor(directory: string, port: number) {
    this.#directory = directory;
    this.#port = port;
  }

  static async start(directory: string): Promise<UploadServer> {
    const server = new UploadServer(directory, await freePort());
    await server.start();
    return server;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#port}/files`;
  }

  async start(): Promise<void> {
    const started = spawn(process.execPath, [PROGRAM, this.#directory, String(this.#port)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#child = started;
    await new Promise<void>((resolve, reject) => {
      started.stdout.on("data", (text: Buffer) => text.toString().includes("uploads at") && resolve());
      started.on("exit", () => reject(new Error("it did not start")));
    });
  }

  async kill(): Promise<void> {
    const dying = this.#child;
    if (dying === undefined) return;
    this.#child = undefined;
    const gone = new Promise((resolve) => dying.on("exit", resolve));
    dying.kill("SIGKILL");
    await gone;
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
