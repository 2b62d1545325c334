import type { Socket } from "node:net";
import type { WebSocket } from "ws";
import { isFault } from "../../wire/fault.ts";
import type { Link, LinkListener } from "./client.ts";
import { BOUND_MESSAGE_BYTES } from "./numbers.ts";
import { RecordSplitter, toRecord } from "./records.ts";

type Heard = Pick<LinkListener, "message" | "drained" | "closed">;

/** One binary message of the WebSocket is one message of the binding. */
export function webSocketLink(socket: WebSocket, heard: Heard): Link {
  socket.binaryType = "nodebuffer";
  socket.on("message", (data, isBinary) => {
    if (isBinary && Buffer.isBuffer(data)) heard.message(data);
    else socket.close(1003, "binary messages only");
  });
  socket.on("error", () => socket.terminate());
  socket.on("close", () => heard.closed());
  return {
    get bufferedAmount() {
      return socket.bufferedAmount;
    },
    send(message) {
      // Nobody waits for room where there is plenty.
      if (socket.bufferedAmount + message.length < LOW_WATER) return socket.send(message, SEND);
      socket.send(message, SEND, () => {
        if (socket.bufferedAmount < LOW_WATER) heard.drained();
      });
    },
    close() {
      socket.close();
      // A peer that is gone does not answer the close.
      setTimeout(() => socket.terminate(), CLOSE_MS).unref();
    },
  };
}

/** A message of the binding behind its length. */
export function socketLink(socket: Socket, heard: Heard): Link {
  const splitter = new RecordSplitter(BOUND_MESSAGE_BYTES + RECORD_OVERHEAD);
  socket.on("data", (chunk) => {
    const records = splitter.push(chunk);
    if (isFault(records)) socket.destroy();
    else for (const record of records) heard.message(record);
  });
  socket.on("drain", () => heard.drained());
  socket.on("error", () => socket.destroy());
  socket.on("close", () => heard.closed());
  return {
    get bufferedAmount() {
      return socket.writableLength;
    },
    send(message) {
      if (!socket.destroyed) socket.write(toRecord(message));
    },
    close() {
      socket.end();
      setTimeout(() => socket.destroy(), CLOSE_MS).unref();
    },
  };
}

const SEND = { binary: true, compress: false };
const LOW_WATER = 262_144;
const CLOSE_MS = 2_000;
const RECORD_OVERHEAD = 65_536;
