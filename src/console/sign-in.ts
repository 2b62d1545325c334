import { createHash, randomBytes } from "node:crypto";
import type { Kernel } from "../kernel/index.ts";
import type { Sessions, WebSession } from "../mechanisms/web/index.ts";
import { createSessions } from "../mechanisms/web/index.ts";
import type { Me } from "./contract.ts";
import type { ConsoleParts } from "./parts.ts";

export type Role = Me["role"];

/** Who may use the console: sign-ins are web sessions of the same kernel, listed and ended like all others. */
export class SignIn {
  readonly sessions: Sessions;
  readonly #kernel: Kernel;
  readonly #origin: string;

  constructor(parts: ConsoleParts) {
    this.#kernel = parts.kernel;
    this.#origin = parts.origin;
    this.sessions = createSessions({
      kernel: parts.kernel,
      preset: "aal2",
      bearer: true,
      cookie: { name: "__Host-holdfast-console", sameSite: "Strict" },
    });
  }

  /** An address that signs one browser in, once. */
  async link(role: Role): Promise<string> {
    const code = randomBytes(24).toString("base64url");
    const value = new TextEncoder().encode(role);
    await this.#kernel.store.putTicket(ticketKey(code), value, this.#kernel.clock.now() + LINK_MS);
    return `${this.#origin}/sign-in?code=${code}`;
  }

  /** A token for the command line and for scripts, to be sent as `Authorization: Bearer`. */
  async token(role: Role, name: string): Promise<string> {
    const made = await this.#kernel.establish({
      mechanism: "web",
      mode: "request-response",
      principal: `console:${name}`,
      roles: [role],
      label: `${name} (token)`,
      absoluteMs: TOKEN_MS,
      peer: { agent: "holdfast" },
      startedAt: this.#kernel.clock.now(),
    });
    return made.secret?.reveal() ?? "";
  }

  /** Uses a link's code up. The session is established on the response; undefined when the code is none or was used. */
  async redeem(session: WebSession, code: string): Promise<Role | undefined> {
    const value = await this.#kernel.store.takeTicket(ticketKey(code), this.#kernel.clock.now());
    if (value === undefined) return undefined;
    const role = roleOf([new TextDecoder().decode(value)]);
    if (role === undefined) return undefined;
    await session.establish({ principal: `console:${role}`, roles: [role], amr: ["link"] });
    return role;
  }

  /** What a session may do here; undefined when it is no sign-in of the console's. */
  me(session: WebSession): Pick<Me, "name" | "role"> | undefined {
    const role = roleOf(session.roles);
    if (role === undefined || session.principal?.startsWith("console:") !== true) return undefined;
    return { name: session.principal.slice("console:".length), role };
  }
}

function roleOf(roles: readonly string[]): Role | undefined {
  return roles.includes("operator") ? "operator" : roles.includes("viewer") ? "viewer" : undefined;
}

/** The store knows the code only by its hash, as it does every other secret. */
function ticketKey(code: string): string {
  return `console-link:${createHash("sha256").update(code).digest("base64url")}`;
}

const LINK_MS = 15 * 60_000;
const TOKEN_MS = 30 * 86_400_000;
