import type { Peer } from "../../kernel/index.ts";
import type { Body } from "./body.ts";
import type { RequestHead } from "./protocol/messages.ts";

/** One request with its way back, whatever server it came through. */
export interface Exchange {
  readonly head: RequestHead;
  /** The request as the server has it. */
  readonly request: object;
  /** Path with the mount point, without the query. */
  readonly path: string;
  readonly peer: Peer;
  readonly body: Body;
  /** Sends an interim response, where the server can. */
  interim(status: number, headers: Readonly<Record<string, string>>): void;
  /** Breaks the connection or stream off: no response may follow. */
  kill(): void;
}
