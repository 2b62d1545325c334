import type { EndReason, Json, SessionRecord } from "../../kernel/index.ts";
import { isHoldfastError } from "../../kernel/index.ts";
import type { Settings, SyslogOrigin } from "./server.ts";

/** The session of whoever sends: of a connection, or of an address that datagrams come from. */
export class Sender {
  readonly origin: SyslogOrigin;
  /** The session is there; rejects when there is to be none. */
  readonly ready: Promise<void>;
  messages = 0;
  refused = false;
  readonly #settings: Settings;
  readonly #close: () => void;
  #record: SessionRecord | undefined;
  #detach: () => void = () => undefined;
  #timer: NodeJS.Timeout | undefined;
  #ending: Promise<void> | undefined;

  constructor(settings: Settings, origin: SyslogOrigin, close: () => void) {
    this.#settings = settings;
    this.origin = origin;
    this.#close = close;
    this.ready = this.#establish();
    this.ready.catch((error: unknown) => {
      this.refused = true;
      // An address is asked again after a while; a connection is closed.
      const again = isHoldfastError(error, "store-unavailable") ? RETRY_SOON_MS : RETRY_MS;
      if (origin.transport === "udp") setTimeout(close, again).unref();
      else close();
    });
  }

  /** A message has come. */
  heard(): void {
    if (this.#timer === undefined)
      this.#timer = setTimeout(() => void this.end("idle-expired"), this.#settings.idleMs).unref();
    else this.#timer.refresh();
    if (this.#record !== undefined) this.#settings.kernel.touch(this.#record);
  }

  end(reason: EndReason, detail: { readonly [key: string]: Json } = {}): Promise<void> {
    this.#ending ??= this.#end(reason, detail);
    return this.#ending;
  }

  async #establish(): Promise<void> {
    const { kernel } = this.#settings;
    const { transport, address, certificate } = this.origin;
    const { record } = await kernel.establish({
      mechanism: "syslog",
      mode: "simplex",
      label: `${transport} ${address}`,
      own: true,
      credential: false,
      peer: { address },
      ...(certificate !== undefined && { principal: certificate }),
    });
    this.#record = record;
    this.#detach = await kernel.attach(record, {
      close: () => {
        this.refused = true;
        this.#ending ??= Promise.resolve();
        clearTimeout(this.#timer);
        this.#close();
      },
    });
  }

  async #end(reason: EndReason, detail: { readonly [key: string]: Json }): Promise<void> {
    clearTimeout(this.#timer);
    await this.ready.catch(() => undefined);
    this.#detach();
    this.#close();
    const { kernel, onFault } = this.#settings;
    if (this.#record === undefined) return;
    await kernel.end(this.#record, { reason, detail: { ...detail, messages: this.messages } }).catch(onFault);
  }
}

const RETRY_MS = 10_000;
const RETRY_SOON_MS = 1_000;
