import type { SecureContext, SecureVersion } from "node:tls";
import { connect, createSecureContext } from "node:tls";

export type Version = "TLSv1.2" | "TLSv1.3";

/** A client that comes again and again, and keeps what it is given as a browser does. */
export class Client {
  readonly #context: SecureContext;
  readonly #version: Version;
  readonly #resumes: boolean;
  #held: Buffer[] = [];
  resumed = 0;
  made = 0;

  constructor(version: Version, resumes: boolean) {
    const only: { minVersion: SecureVersion; maxVersion: SecureVersion } = {
      minVersion: version,
      maxVersion: version,
    };
    // Made once: it costs more than a handshake.
    this.#context = createSecureContext(only);
    this.#version = version;
    this.#resumes = resumes;
  }

  /** Connects, asks, and waits until the server has answered and closed: its tickets have come by then. */
  visit(port: number): Promise<void> {
    const session = this.#resumes ? this.#next() : undefined;
    return new Promise((resolve, reject) => {
      const socket = connect({
        port,
        host: "127.0.0.1",
        servername: "localhost",
        rejectUnauthorized: false,
        secureContext: this.#context,
        ...(session !== undefined && { session }),
      });
      socket.on("session", (given: Buffer) => this.#keep(given));
      socket.once("secureConnect", () => {
        this.made++;
        if (socket.isSessionReused()) this.resumed++;
        else if (session !== undefined) this.#held = [];
        socket.write(REQUEST);
      });
      socket.once("error", reject);
      socket.once("close", () => resolve());
      socket.resume();
    });
  }

  /** TLS 1.3: each ticket once, but the last, so that a server which gives no new one is not counted with full handshakes. */
  #next(): Buffer | undefined {
    if (this.#version === "TLSv1.3" && this.#held.length > 1) return this.#held.pop();
    return this.#held[0];
  }

  #keep(given: Buffer): void {
    if (this.#version === "TLSv1.2") this.#held = [given];
    else this.#held = [given, ...this.#held].slice(0, MOST_HELD);
  }
}

const MOST_HELD = 4;
const REQUEST = "GET / HTTP/1.0\r\n\r\n";
