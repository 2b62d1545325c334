/**
 * All that Holdfast uses of Node's TLS beyond its documentation, found by looking and not by version. Tried on Node 20, 22,
 * 24 and 26. Where something is missing `steering` is undefined, and sessions go through the documented events alone.
 */
import { createSecureContext } from "node:tls";
import type { Server, TLSSocket } from "node:tls";

/** What OpenSSL asks for each ticket it reads (`making` false) or writes. */
export type TicketKeyCallback = (context: object, name: Buffer, iv: Buffer, making: boolean) => TicketAnswer;

/**
 * Its verdict (0: not ours, 1: good, 2: good and to be renewed), the keys, and when writing what to put in front. A negative
 * verdict breaks the handshake.
 */
export type TicketAnswer = [verdict: number, hmac: Buffer, aes: Buffer, name?: Buffer, iv?: Buffer];

export interface ContextSettings {
  readonly idContext: string;
  readonly timeoutSeconds: number;
  /** `SSL_OP_…` bits to set besides those there are. */
  readonly options: number;
  /** Whether tickets are ours to key. */
  readonly tickets: boolean;
}

/** Changes a server's context that is there already, as `setSecureContext` with options would a new one. */
export interface Steering {
  steer(server: Server, settings: ContextSettings): void;
  /** The context that stands for a server, as the callback will name it; a name's own context is none of these. */
  contextOf(server: Server): object | undefined;
}

/** `undefined` where this Node has not all that is needed. */
export function steering(callback: TicketKeyCallback): Steering | undefined {
  const probe = nativeOf(createSecureContext());
  const shared: unknown = probe === undefined ? undefined : Object.getPrototypeOf(probe);
  if (probe === undefined || !isObject(shared)) return undefined;
  // On the prototype, because a context that was chosen by name is asked for the callback too, though it was never told
  // to have one; without an answer the handshake would break.
  Object.defineProperty(shared, "onticketkeycallback", {
    configurable: true,
    writable: true,
    value(this: object, name: Buffer, iv: Buffer, making: boolean): TicketAnswer {
      return callback(this, name, iv, making);
    },
  });
  return { steer, contextOf: (server) => nativeContext(server) };
}

/** The socket that a TLS socket was wrapped around, where Node says so. */
export function socketBeneath(socket: TLSSocket): unknown {
  return member(socket, "_parent");
}

/** Whether the server asks its clients for certificates; `undefined` where Node does not say. */
export function asksForCertificates(server: Server): boolean | undefined {
  const asks = member(server, "requestCert");
  return typeof asks === "boolean" ? asks : undefined;
}

function steer(server: Server, settings: ContextSettings): void {
  const native = nativeContext(server);
  if (native === undefined) throw new TypeError("this server's context cannot be reached");
  native.setSessionIdContext(settings.idContext);
  native.setSessionTimeout(settings.timeoutSeconds);
  if (settings.options !== 0) native.setOptions(settings.options);
  if (settings.tickets) native.enableTicketKeyCallback();
}

function nativeContext(server: Server): NativeContext | undefined {
  return nativeOf(member(server, "_sharedCreds"));
}

function nativeOf(secureContext: unknown): NativeContext | undefined {
  const native = isObject(secureContext) ? member(secureContext, "context") : undefined;
  return isObject(native) && isNativeContext(native) ? native : undefined;
}

interface NativeContext {
  setSessionIdContext(id: string): void;
  setSessionTimeout(seconds: number): void;
  setOptions(bits: number): void;
  enableTicketKeyCallback(): void;
}

function isNativeContext(value: object): value is NativeContext {
  const names = ["setSessionIdContext", "setSessionTimeout", "setOptions", "enableTicketKeyCallback"];
  return names.every((name) => typeof member(value, name) === "function");
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

function member(value: object, name: string): unknown {
  const found: unknown = Reflect.get(value, name);
  return found;
}
