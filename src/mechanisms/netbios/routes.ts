import { HoldfastError } from "../../kernel/index.ts";
import type { NetbiosName } from "./codec/name.ts";
import { ANY_SERVER, nameKey, parseName } from "./codec/name.ts";
import { NEGATIVE } from "./codec/session.ts";

/** An SMB server behind the gateway. */
export interface Backend {
  readonly host: string;
  /** 445 by default, or 139 when it wants a session request. */
  readonly port?: number;
  /** `direct`: SMB right over TCP, as on port 445. `netbios`: it wants a session request first. */
  readonly speaks?: "direct" | "netbios";
  /** The name to call it by, with `speaks: "netbios"`; left out: the name that the client called. */
  readonly calledName?: string;
  /** With `speaks: "netbios"`: addresses it may send us on to (RFC 1002 §4.3.5), as `address:port`. None by default. */
  readonly retargets?: readonly string[];
}

/** Where a call goes. */
export type Target =
  | { readonly backend: string }
  /** The caller shall call again there. Samba's clients do not; `connect` of this mechanism does. */
  | { readonly retarget: { readonly address: string; readonly port: number } }
  /** One of the codes of RFC 1002 §4.3.4. */
  | { readonly refuse: number };

/** `FILESRV`, `FILESRV<20>` or `FILESRV<20>.scope`; no suffix means `<20>`, a file server. */
export type Route = Target & {
  readonly called: string;
  /** Calling names that may; left out: all. It is what the caller says of itself, not a proof. */
  readonly callers?: readonly string[];
};

export interface RouteOptions {
  readonly backends: Readonly<Record<string, Backend>>;
  readonly routes: readonly Route[];
  /** For `*SMBSERVER`, the name of clients that know an address and no name. Refused (0x82) when left out. */
  readonly anyServer?: Target;
  /** For names without a route. Refused (0x82) when left out. */
  readonly otherwise?: Target;
}

export type Decision =
  | { readonly type: "relay"; readonly backend: string; readonly to: ResolvedBackend }
  | { readonly type: "retarget"; readonly address: string; readonly port: number }
  | { readonly type: "refuse"; readonly code: number };

export interface ResolvedBackend {
  readonly host: string;
  readonly port: number;
  readonly speaks: "direct" | "netbios";
  readonly calledName: NetbiosName | undefined;
  readonly retargets: ReadonlySet<string>;
}

/** The rules by which calls find their backend. The first route for the called name that lets the caller in wins. */
export class Routes {
  readonly #byName = new Map<string, ParsedRoute[]>();
  readonly #anyServer: Decision;
  readonly #otherwise: Decision;
  readonly #backends: ReadonlyMap<string, ResolvedBackend>;
  readonly #names: readonly NetbiosName[];

  /** @throws HoldfastError `invalid-argument` when a name, a code or a backend is not right. */
  constructor(options: RouteOptions) {
    this.#backends = new Map(
      Object.entries(options.backends).map(([id, backend]) => [id, resolveBackend(id, backend)]),
    );
    const names = new Map<string, NetbiosName>();
    for (const route of options.routes) {
      const called = requireName(route.called, "called");
      const key = nameKey(called);
      const callers = route.callers?.map((name) => requireName(name, "callers", 0).name);
      const parsed = { decision: this.#decision(route), callers: callers && new Set(callers) };
      this.#byName.set(key, [...(this.#byName.get(key) ?? []), parsed]);
      names.set(key, called);
    }
    this.#names = [...names.values()];
    this.#anyServer = this.#decision(options.anyServer ?? NOT_PRESENT);
    this.#otherwise = this.#decision(options.otherwise ?? NOT_PRESENT);
  }

  /** The names that have a route: what a name service should answer for. */
  get names(): readonly NetbiosName[] {
    return this.#names;
  }

  decide(called: NetbiosName, calling: NetbiosName): Decision {
    const routes = this.#byName.get(nameKey({ ...called, name: called.name.toUpperCase() }));
    if (routes === undefined) return called.name === ANY_SERVER ? this.#anyServer : this.#otherwise;
    const route = routes.find(({ callers }) => callers?.has(calling.name.toUpperCase()) ?? true);
    return route?.decision ?? { type: "refuse", code: NEGATIVE.notListeningForCallingName };
  }

  #decision(target: Target): Decision {
    if ("refuse" in target) return { type: "refuse", code: requireCode(target.refuse) };
    if ("retarget" in target) return { type: "retarget", ...requireRetarget(target.retarget) };
    const to = this.#backends.get(target.backend);
    if (to === undefined)
      throw invalid(`There is no backend called ${target.backend}.`, { backend: target.backend });
    return { type: "relay", backend: target.backend, to };
  }
}

interface ParsedRoute {
  readonly decision: Decision;
  readonly callers: ReadonlySet<string> | undefined;
}

const NOT_PRESENT: Target = { refuse: NEGATIVE.calledNameNotPresent };

function resolveBackend(id: string, backend: Backend): ResolvedBackend {
  const speaks = backend.speaks ?? "direct";
  const port = backend.port ?? (speaks === "direct" ? 445 : 139);
  if (!isPort(port)) throw invalid(`Backend ${id} needs a port from 1 to 65535.`, { port });
  return {
    host: backend.host,
    port,
    speaks,
    calledName: backend.calledName === undefined ? undefined : requireName(backend.calledName, "calledName"),
    retargets: new Set(backend.retargets ?? []),
  };
}

/** @throws HoldfastError `invalid-argument` when `text` is no NetBIOS name. */
export function requireName(text: string, what: string, defaultSuffix?: number): NetbiosName {
  const name = parseName(text, defaultSuffix);
  if (name !== undefined) return name;
  throw invalid(
    `${what} is not a NetBIOS name: 1 to 15 latin1 characters, then <xx> and .scope if need be.`,
    { [what]: text },
  );
}

function requireCode(code: number): number {
  if (Number.isInteger(code) && code >= 0x80 && code <= 0x8f) return code;
  throw invalid("refuse takes an error code of RFC 1002 §4.3.4, 0x80 to 0x8f.", { refuse: code });
}

function requireRetarget(to: { readonly address: string; readonly port: number }): {
  address: string;
  port: number;
} {
  // RFC 1002 §4.3.5 has room for four bytes of address only.
  const isAddress =
    /^\d{1,3}(\.\d{1,3}){3}$/u.test(to.address) && to.address.split(".").every((part) => Number(part) < 256);
  if (isAddress && isPort(to.port)) return { address: to.address, port: to.port };
  throw invalid("retarget takes an IPv4 address and a port.", { address: to.address, port: to.port });
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port > 0 && port < 65_536;
}

function invalid(message: string, detail: Readonly<Record<string, unknown>>): HoldfastError {
  return new HoldfastError("invalid-argument", message, { detail });
}
