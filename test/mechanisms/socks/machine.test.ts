import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ClientRequest, Step } from "../../../src/mechanisms/socks/client-machine.ts";
import { ClientMachine } from "../../../src/mechanisms/socks/client-machine.ts";
import type { Action, Input, MachineOptions } from "../../../src/mechanisms/socks/machine.ts";
import { ServerMachine } from "../../../src/mechanisms/socks/machine.ts";
import { BAD_REQUESTS } from "../../vectors/socks.ts";

const OPTIONS: MachineOptions = {
  handshakeMs: 10_000,
  connectMs: 20_000,
  bindMs: 60_000,
  anonymous: true,
  passwords: false,
  versions: [4, 5],
};
const BOUND = { host: "192.0.2.1", port: 4_000 };
const PEER = { host: "198.51.100.7", port: 5_000 };
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");

/** A server machine with a house around it that does what the actions ask for, in virtual time. */
class House {
  readonly machine: ServerMachine;
  now = 1_000;
  sent = "";
  readonly opened: string[] = [];
  readonly asked: string[] = [];
  relayed: Buffer | undefined;
  associated = false;
  closed: string | undefined;
  deadlineAt: number | undefined;
  good = true;
  answer: "opened" | "failed" | "never" = "opened";

  constructor(options: Partial<MachineOptions> = {}) {
    this.machine = new ServerMachine({ ...OPTIONS, ...options });
    this.perform(this.machine.start(this.now));
  }

  give(input: Input): void {
    this.perform(this.machine.handle(input, this.now));
  }

  bytes(...chunks: (string | Buffer)[]): this {
    for (const chunk of chunks)
      this.give({ type: "bytes", bytes: typeof chunk === "string" ? hex(chunk) : chunk });
    return this;
  }

  /** Moves time on to the deadline, if there is one within `ms`. */
  wait(ms: number): this {
    const until = this.now + ms;
    while (this.deadlineAt !== undefined && this.deadlineAt <= until && this.closed === undefined) {
      this.now = this.deadlineAt;
      this.give({ type: "time" });
    }
    this.now = until;
    return this;
  }

  perform(actions: readonly Action[]): void {
    for (const action of actions) {
      switch (action.type) {
        case "send":
          assert.equal(this.closed, undefined, "nothing is sent after the close");
          this.sent += action.bytes.toString("hex");
          break;
        case "authenticate":
          this.asked.push(JSON.stringify(action.credentials));
          this.give({ type: "verdict", good: this.good });
          break;
        case "open": {
          const { host, port } = action.destination;
          this.opened.push(`${action.command} ${host} ${port}`);
          if (this.answer === "opened") this.give({ type: "opened", bound: BOUND });
          if (this.answer === "failed") this.give({ type: "failed", reply: "connection-refused" });
          break;
        }
        case "deadline":
          this.deadlineAt = action.at;
          break;
        case "relay":
          this.relayed = action.early;
          break;
        case "associated":
          this.associated = true;
          break;
        case "close":
          this.closed = action.cause;
          break;
      }
    }
  }
}

const GRANTED = "05000001c00002010fa0";
const conversations: readonly {
  name: string;
  options?: Partial<MachineOptions>;
  bytes: string;
  sent: string;
  opened: string;
}[] = [
  {
    name: "SOCKS5 to an address",
    bytes: "050100 050100017f0000010050",
    sent: `0500${GRANTED}`,
    opened: "connect 127.0.0.1 80",
  },
  {
    name: "SOCKS5 with a password, to a name",
    options: { anonymous: false, passwords: true },
    bytes: "05020002 0104757365720270770501000309 6c6f63616c686f7374 0050",
    sent: `0502 0100 ${GRANTED}`.replaceAll(" ", ""),
    opened: "connect localhost 80",
  },
  {
    name: "SOCKS4",
    bytes: "04010050 7f000001 757365 00",
    sent: "005a0fa0c0000201",
    opened: "connect 127.0.0.1 80",
  },
  {
    name: "SOCKS4a",
    bytes: "04010050 00000001 00 6e616d6500",
    sent: "005a0fa0c0000201",
    opened: "connect name 80",
  },
];

describe("a request that comes in any pieces", () => {
  for (const { name, options, bytes, sent, opened } of conversations) {
    it(`${name}: all at once, byte by byte, and cut at every place, with data behind it`, () => {
      const all = Buffer.concat([hex(bytes), Buffer.from("early data")]);
      const ways: Buffer[][] = [[all], [...all].map((byte) => Buffer.from([byte]))];
      for (let cut = 1; cut < all.length; cut++) ways.push([all.subarray(0, cut), all.subarray(cut)]);
      for (const chunks of ways) {
        const house = new House(options);
        let relayed = "";
        for (const chunk of chunks) {
          if (house.relayed === undefined) {
            house.bytes(chunk);
            relayed += house.relayed === undefined ? "" : String(house.relayed);
          } else relayed += chunk.toString();
        }
        assert.equal(house.sent, sent);
        assert.deepEqual(house.opened, [opened]);
        assert.equal(relayed, "early data", `in ${chunks.length} chunks, the first of ${chunks[0]?.length}`);
        assert.equal(house.deadlineAt, undefined, "no deadline is left");
      }
    });
  }
});

describe("RFC 1928 §3: the choice of method", () => {
  const choose = (offered: string, options: Partial<MachineOptions>): string =>
    new House(options).bytes(offered).sent;

  it("takes the password where one is known, and nothing only where nothing is asked", () => {
    assert.equal(choose("05020002", { anonymous: true, passwords: true }), "0502");
    assert.equal(choose("050100", { anonymous: true, passwords: true }), "0500");
    assert.equal(choose("05020002", { anonymous: true, passwords: false }), "0500");
    assert.equal(choose("050100", { anonymous: false, passwords: true }), "05ff");
    assert.equal(choose("0500", {}), "05ff");
    assert.equal(choose("05017f", {}), "05ff");
  });

  it("closes after 0xff", () => {
    assert.equal(new House().bytes("05017f").closed, "refused");
  });
});

describe("RFC 1929 §2: the password", () => {
  it("that is wrong gets a failure status and the end, and no request is read", () => {
    const house = new House({ anonymous: false, passwords: true });
    house.good = false;
    house.bytes("050102 01 0475736572 03626164 050100017f0000010050");
    assert.equal(house.sent, "05020101");
    assert.equal(house.closed, "refused");
    assert.deepEqual(house.opened, []);
    assert.deepEqual(house.asked, [
      JSON.stringify({ method: "password", username: "user", password: "bad" }),
    ]);
  });

  it("in another negotiation's version is refused", () => {
    const house = new House({ passwords: true }).bytes("050102 05 00");
    assert.equal(house.sent, "05020101");
    assert.equal(house.closed, "refused");
  });
});

describe("RFC 1928 §6: what cannot be done is answered in full", () => {
  const replyTo = (request: string): string => new House().bytes("050100", request).sent.slice(4);

  it("with the code that says why, and the connection is closed", () => {
    assert.equal(replyTo(BAD_REQUESTS.command), "05070001000000000000");
    assert.equal(replyTo(BAD_REQUESTS.addressType), "05080001000000000000");
    assert.equal(replyTo(BAD_REQUESTS.emptyName), "05040001000000000000");
    assert.equal(replyTo(BAD_REQUESTS.nulInName), "05040001000000000000");
    assert.equal(replyTo("04"), "05010001000000000000");
    const house = new House();
    house.answer = "failed";
    house.bytes("050100", "050100017f0000010050");
    assert.equal(house.sent, "050005050001000000000000");
    assert.equal(house.closed, "refused");
  });

  it("but an unknown version gets no answer: whoever spoke does not speak SOCKS", () => {
    const house = new House().bytes(BAD_REQUESTS.version);
    assert.equal(house.sent, "");
    assert.equal(house.closed, "protocol-error");
    assert.equal(new House({ versions: [5] }).bytes("04").closed, "protocol-error");
  });
});

describe("BIND", () => {
  it("RFC 1928 §4: has two replies, and relays after the second", () => {
    const house = new House().bytes("050100", "05020001c6336407 0000");
    assert.equal(house.sent, `0500${GRANTED}`);
    assert.equal(house.relayed, undefined);
    house.give({ type: "accepted", peer: PEER });
    assert.equal(house.sent, `0500${GRANTED}05000001c63364071388`);
    assert.equal(String(house.relayed), "");
  });

  it("of SOCKS4 has two replies as well, and its own words when nobody comes", () => {
    const house = new House().bytes("04020000 7f000001 00");
    assert.equal(house.sent, "005a0fa0c0000201");
    house.wait(60_000);
    assert.equal(house.sent, "005a0fa0c0000201005b000000000000");
    assert.equal(house.closed, "refused");
  });
});

describe("time", () => {
  it("a handshake that never ends is cut off, however steadily its bytes drip", () => {
    const house = new House();
    const bytes = hex(`050100 05010003ff${"61".repeat(255)}0050`);
    let given = 0;
    for (const byte of bytes) {
      if (house.closed !== undefined) break;
      house.bytes(Buffer.from([byte])).wait(100);
      given++;
    }
    assert.equal(house.closed, "timeout");
    assert.equal(given, 100, "100 bytes in 10 s, and no more");
    assert.equal(house.sent, "0500");
  });

  it("a destination that does not answer is a host that cannot be reached", () => {
    const house = new House();
    house.answer = "never";
    house.bytes("050100", "050100017f0000010050").wait(19_999);
    assert.equal(house.closed, undefined);
    house.wait(1);
    assert.equal(house.sent, "050005040001000000000000");
    house.give({ type: "opened", bound: BOUND });
    assert.equal(house.relayed, undefined, "what comes too late is not relayed");
  });

  it("a BIND waits longer, then says that time ran out", () => {
    const house = new House().bytes("050100", "050200017f0000010000").wait(59_999);
    assert.equal(house.closed, undefined);
    house.wait(1);
    assert.equal(house.sent, `0500${GRANTED}05060001000000000000`);
  });

  it("nothing is timed once bytes are relayed", () => {
    const house = new House().bytes("050100", "050100017f0000010050").wait(10_000_000);
    assert.equal(house.closed, undefined);
  });
});

describe("a client that stops sending", () => {
  it("in the middle of the handshake has left", () => {
    for (const bytes of ["", "05", "050100", "0501000501"]) {
      const house = new House().bytes(bytes);
      house.give({ type: "ended" });
      assert.equal(house.closed, "gone", bytes);
    }
  });

  it("while a BIND waits has given up", () => {
    const house = new House().bytes("050100", "050200017f0000010000");
    house.give({ type: "ended" });
    assert.equal(house.closed, "gone");
  });

  it("behind a complete request still gets its answer", () => {
    const house = new House();
    house.answer = "never";
    house.bytes("050100", "050100017f0000010050", Buffer.from("all there is"));
    house.give({ type: "ended" });
    house.give({ type: "opened", bound: BOUND });
    assert.equal(String(house.relayed), "all there is");
  });
});

describe("client and server machine together", () => {
  const requests: readonly { name: string; request: ClientRequest; options?: Partial<MachineOptions> }[] = [
    {
      name: "SOCKS5",
      request: { protocol: "socks5", command: "connect", destination: { host: "example.com", port: 80 } },
    },
    {
      name: "SOCKS5 over IPv6",
      request: { protocol: "socks5", command: "connect", destination: { host: "2001:db8::1", port: 80 } },
    },
    {
      name: "SOCKS5 with a password",
      request: {
        protocol: "socks5",
        command: "connect",
        destination: { host: "a", port: 1 },
        username: "u",
        password: "p",
      },
      options: { anonymous: false, passwords: true },
    },
    {
      name: "SOCKS4",
      request: { protocol: "socks4", command: "connect", destination: { host: "192.0.2.9", port: 80 } },
    },
    {
      name: "SOCKS4a",
      request: {
        protocol: "socks4",
        command: "connect",
        destination: { host: "example.com", port: 80 },
        username: "me",
      },
    },
    {
      name: "BIND",
      request: { protocol: "socks5", command: "bind", destination: { host: "192.0.2.9", port: 0 } },
    },
    {
      name: "BIND of SOCKS4",
      request: { protocol: "socks4", command: "bind", destination: { host: "192.0.2.9", port: 0 } },
    },
    {
      name: "ASSOCIATE",
      request: { protocol: "socks5", command: "associate", destination: { host: "0.0.0.0", port: 0 } },
    },
  ];
  for (const { name, request, options } of requests) {
    it(`${name}: they agree, whether packets are whole or single bytes`, () => {
      for (const single of [false, true]) {
        const house = new House(options);
        const client = new ClientMachine(request);
        const steps: Step[] = [];
        let told = 0;
        let pending = client.start();
        // Both talk until neither has anything to say.
        for (let turn = 0; turn < 10; turn++) {
          for (const step of pending) {
            if (step.type !== "send") steps.push(step);
            else if (single) for (const byte of step.bytes) house.bytes(Buffer.from([byte]));
            else house.bytes(step.bytes);
          }
          if (request.command === "bind" && steps.length === 1) house.give({ type: "accepted", peer: PEER });
          const news = hex(house.sent).subarray(told);
          told += news.length;
          pending = single
            ? [...news].flatMap((byte) => client.handle(Buffer.from([byte])))
            : news.length > 0
              ? client.handle(Buffer.from(news))
              : [];
        }
        const { command, destination } = request;
        assert.deepEqual(house.opened, [`${command} ${destination.host} ${destination.port}`]);
        const expected: Step[] = [{ type: "granted", bound: BOUND }];
        if (command === "bind") expected.push({ type: "accepted", peer: PEER });
        assert.deepEqual(steps, expected);
        assert.equal(house.associated, command === "associate");
      }
    });
  }

  it("what the destination sent behind the reply is kept for the caller", () => {
    const client = new ClientMachine({
      protocol: "socks5",
      command: "connect",
      destination: { host: "a", port: 1 },
    });
    client.start();
    client.handle(hex("0500"));
    const steps = client.handle(Buffer.concat([hex("05000001c00002010fa0"), Buffer.from("220 hello")]));
    assert.deepEqual(steps, [{ type: "granted", bound: BOUND }]);
    assert.equal(client.rest().toString(), "220 hello");
  });

  it("a proxy's refusal, and a proxy that is none, are told apart", () => {
    const failureAfter = (protocol: ClientRequest["protocol"], ...chunks: string[]): string => {
      const client = new ClientMachine({
        protocol,
        command: "connect",
        destination: { host: "a", port: 1 },
        username: "u",
      });
      const steps = [
        ...client.start(),
        ...chunks.flatMap((chunk) => client.handle(Buffer.from(chunk, "latin1"))),
      ];
      const failed = [...steps, ...client.ended()].find((step) => step.type === "failed");
      return failed?.type === "failed"
        ? `${failed.failure.code} ${failed.failure.reply ?? ""}`.trimEnd()
        : "no failure";
    };
    assert.equal(
      failureAfter("socks5", "\x05\x00", "\x05\x05\0\x01\0\0\0\0\0\0"),
      "proxy-refused connection-refused",
    );
    assert.equal(failureAfter("socks5", "\x05\x00", "\x05\x63\0\x01\0\0\0\0\0\0"), "proxy-refused");
    assert.equal(failureAfter("socks5", "\x05\xff"), "proxy-authentication");
    assert.equal(failureAfter("socks5", "\x05\x01"), "proxy-authentication");
    assert.equal(failureAfter("socks5", "\x05\x02"), "request-not-expressible");
    assert.equal(failureAfter("socks5", "HTTP/1.1 400"), "proxy-protocol");
    assert.equal(failureAfter("socks5", "\x05"), "proxy-closed");
    assert.equal(failureAfter("socks4", "\0\x5d\0\0\0\0\0\0"), "proxy-authentication");
    assert.equal(failureAfter("socks4", "\0\x5b\0\0\0\0\0\0"), "proxy-refused general-failure");
    assert.equal(failureAfter("http", "HTTP/1.1 403 Forbidden\r\n\r\n"), "proxy-refused");
    assert.equal(failureAfter("http", "HTTP/1.1 407 Who?\r\n\r\n"), "proxy-authentication");
    assert.equal(failureAfter("http", "SSH-2.0"), "proxy-protocol");
  });
});
