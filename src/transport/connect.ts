import type { NetConnectOpts, OnReadOpts, Socket } from "node:net";
import { connect } from "node:net";

/** A connection for one side of a relay. It can be half closed, sends at once, and reads through `onread`. */
export function connectLeg(host: string, port: number, onread: OnReadOpts): Socket {
  const options: NetConnectOpts & typeof AS_NODE_SETS_THEM = {
    host,
    port,
    allowHalfOpen: true,
    noDelay: true,
    onread,
    ...AS_NODE_SETS_THEM,
  };
  return connect(options);
}

/**
 * Node copies the options and sets these on the copy, to these values. Names that are new to a copied object make a
 * hidden class for each: a kilobyte that only a full collection takes back, and a twentieth of what a relay costs.
 */
const AS_NODE_SETS_THEM = { emitClose: false, autoDestroy: true, decodeStrings: false } as const;
