import * as UNIT from "../../../src/mechanisms/dialog/units.ts";
import type { Agreement, Message, Side } from "../../../src/mechanisms/dialog/machine/index.ts";
import { agree } from "../../../src/mechanisms/dialog/machine/index.ts";
import type { PeersOptions } from "./two-peers.ts";
import { seeded, SIDES, TwoPeers } from "./two-peers.ts";

/** An agreement of `units`, with the tokens as `placement` says. */
export function agreement(
  units: number,
  placement = 0,
  checkpoint: [bytes: number, window: number] = [0, 0],
): Agreement {
  const proposal = {
    units,
    placement,
    checkpointBytes: checkpoint[0],
    checkpointWindow: checkpoint[1],
    maxMessageBytes: 4096,
  };
  const agreed = agree(proposal, proposal);
  if (agreed === undefined) throw new Error("no mode in common");
  return agreed;
}

/** Steps that one byte each can choose, so that a generator of bytes is a generator of runs. */
export function step(peers: TwoPeers, choice: number, detail: number): void {
  const side: Side = (choice & 1) === 0 ? 0 : 1;
  const machine = peers.machine(side);
  const { state } = machine;
  const serial = Math.max(0, state.vr - 1 + (detail % (state.vm - state.vr + 3)));
  const messages: readonly Message[] = [
    { type: "token-give", tokens: 1 + (detail % 15) },
    { type: "token-give", tokens: 1 },
    { type: "token-give", tokens: machine.tokens },
    { type: "minor", serial: state.vm },
    { type: "minor", serial: state.vm },
    { type: "minor-ack", serial },
    { type: "major", serial: state.vm },
    { type: "resync", kind: "restart", serial, placement: detail },
    { type: "resync", kind: "restart", serial, placement: 0xaa },
    { type: "resync", kind: "set", serial: detail, placement: 0xaa },
    { type: "resync", kind: "abandon", serial: state.vm, placement: detail },
    { type: "activity-start", id: `a${detail}` },
    { type: "activity-start", id: "b" },
    { type: "activity-resume", id: "c", oldId: "b", oldHandle: "", serial: detail },
    { type: "activity-end", serial: state.vm },
    { type: "activity-interrupt", reason: 1 },
    { type: "activity-discard", reason: 1 },
    { type: "exception", reason: 1, why: "" },
  ];
  const what = (choice >> 1) % 40;
  if (what < messages.length) peers.request(side, messages[what] ?? { type: "finish" });
  else if (what < 25)
    peers.send(side, `${side}.${peers.now}.${detail}`, (detail & 3) === 0 ? "typed" : "data");
  else if (what < 29) peers.advance(1 + (detail % 7));
  else if (what < 32) peers.consume(side);
  else if (what < 34) peers.answer(side);
  else if (what < 36) peers.store(side);
  else if (what === 36) peers.connect();
  else if (what === 37) peers.lose(side);
  else if (what === 38) machine.please(1 + (detail % 15));
  else if (peers.peers[side].options.logged) peers.crash(side);
  else peers.pump(side);
  peers.check();
}

/** A whole run from a seed: `steps` random steps, then everything must come to rest and add up. */
export function randomRun(seed: number, steps: number): void {
  const random = seeded(seed);
  const pick = (count: number) => Math.floor(random() * count);
  const purging = pick(2) === 0;
  const units =
    (1 << pick(4)) |
    (pick(UNIT.all + 1) &
      ~UNIT.modes &
      (purging ? UNIT.all : ~(UNIT.resync | UNIT.activity | UNIT.exceptions)));
  const options: PeersOptions = {
    agreement: agreement(units, pick(256), pick(3) === 0 ? [100, 3] : [0, 0]),
    credit: { messages: 1 + pick(8), bytes: 40 + pick(200) },
    logged: [pick(2) === 0, pick(2) === 0],
    latency: 1 + pick(5),
    bytewise: pick(2) === 0,
    outboxBytes: 50 + pick(1000),
    random,
  };
  const peers = new TwoPeers(options);
  for (const side of SIDES) {
    // A process that dies before it has written anything was never part of the dialog.
    peers.store(side);
    peers.store(side);
  }
  peers.connect();
  for (let index = 0; index < steps; index++) step(peers, pick(256), pick(256));
  peers.settle();
  peers.verify({ purges: purging });
}
