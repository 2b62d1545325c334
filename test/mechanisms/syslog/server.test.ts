import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { connect as connectTls } from "node:tls";
import type { Handle, JournalEntry } from "../../../src/kernel/index.ts";
import { createKernel } from "../../../src/kernel/index.ts";
import type { SyslogMessage, SyslogOptions, SyslogOrigin } from "../../../src/mechanisms/syslog/index.ts";
import { createSyslog } from "../../../src/mechanisms/syslog/index.ts";
import { memory } from "../../../src/store/memory/index.ts";
import { selfSigned } from "../../peers/certificate.ts";

async function receiver(options: Partial<SyslogOptions> = {}) {
  const faults: unknown[] = [];
  const kernel = createKernel({ store: memory(), onFault: (error) => faults.push(error) });
  await kernel.start();
  const got: { message: SyslogMessage; origin: SyslogOrigin }[] = [];
  const ends: JournalEntry[] = [];
  kernel.onEntry((entry) => void (entry.event === "end" && ends.push(entry)));
  const syslog = createSyslog({
    kernel,
    deliver: (message, origin) => void got.push({ message, origin }),
    onFault: (error) => faults.push(error),
    ...options,
  });
  return {
    kernel,
    syslog,
    got,
    ends,
    faults,
    texts: () => got.map(({ message }) => message.text),
    stop: async () => {
      await syslog.close();
      await kernel.close();
    },
  };
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const giveUp = Date.now() + 60_000;
  while (!(await holds())) {
    assert.ok(Date.now() < giveUp, `waited a minute for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Runs `logger`; false where it is not installed and need not be. */
async function logger(...args: readonly string[]): Promise<boolean> {
  const child = spawn("logger", args, { stdio: ["ignore", "inherit", "inherit"] });
  after(() => child.kill("SIGKILL"));
  return new Promise((resolve, reject) => {
    child.on("error", (error: NodeJS.ErrnoException) =>
      error.code === "ENOENT" && process.env["CI"] !== "true" ? resolve(false) : reject(error),
    );
    child.on("close", (code) => (code === 0 ? resolve(true) : reject(new Error(`logger: ${code}`))));
  });
}

test("logger from util-linux: datagrams and both framings, RFC 5424 and RFC 3164", async (t) => {
  const { syslog, got, texts, stop, kernel, ends, faults } = await receiver();
  const udp = String(await syslog.listenUdp());
  const tcp = String((await syslog.listenTcp()).port);
  const common = ["-n", "127.0.0.1", "-t", "test-app", "--id=4711"];
  if (
    !(await logger(
      ...common,
      "-P",
      udp,
      "-d",
      "-p",
      "daemon.err",
      "--msgid",
      "ID1",
      "--sd-id",
      "zoo@123",
      "--sd-param",
      'tiger="hungry"',
      "by datagram",
    ))
  )
    return t.skip("logger is not installed");
  await until("the datagram", () => got.length === 1);
  const { message, origin } = got[0] ?? assert.fail();
  assert.deepEqual(
    [
      message.format,
      message.facility,
      message.severity,
      message.app,
      message.process,
      message.messageId,
      message.text,
    ],
    ["rfc5424", 3, 3, "test-app", "4711", "ID1", "by datagram"],
  );
  assert.ok(message.structured.some(({ id, params }) => id === "zoo@123" && params[0]?.[1] === "hungry"));
  assert.deepEqual(origin, { transport: "udp", address: "127.0.0.1" });
  await logger(...common, "-P", tcp, "-T", "up to a line feed");
  await logger(...common, "-P", tcp, "-T", "--octet-count", "counted");
  await logger(...common, "-P", tcp, "-T", "--rfc3164", "the older form");
  await until("the rest", () => got.length === 4);
  assert.deepEqual(texts(), ["by datagram", "up to a line feed", "counted", "the older form"]);
  assert.deepEqual(
    got.map(({ message: one }) => [one.format, one.app]),
    [
      ["rfc5424", "test-app"],
      ["rfc5424", "test-app"],
      ["rfc5424", "test-app"],
      ["rfc3164", "test-app"],
    ],
  );
  await until("three ends", () => ends.length === 3);
  let live = 0;
  for await (const record of kernel.sessions({ mechanism: "syslog" })) {
    assert.equal(record.label, "udp 127.0.0.1");
    live++;
  }
  assert.equal(live, 1);
  assert.deepEqual(syslog.counts, { messages: 4, dropped: 0, malformed: 0 });
  assert.deepEqual(faults, []);
  await stop();
  assert.equal(ends.length, 4);
});

test("TLS: the certificate of whoever sends is the principal, and a revoked one is cut off and kept out", async () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-syslog-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  for (const name of ["server", "printer"]) selfSigned(folder, name);
  const file = (name: string): Buffer => readFileSync(join(folder, name));
  const { syslog, kernel, got, stop, faults } = await receiver();
  const { port } = await syslog.listenTcp({
    tls: {
      cert: file("server.crt"),
      key: file("server.key"),
      requestCert: true,
      rejectUnauthorized: true,
      ca: file("printer.crt"),
    },
  });
  const open = () =>
    connectTls({
      port,
      host: "127.0.0.1",
      servername: "localhost",
      ca: file("server.crt"),
      cert: file("printer.crt"),
      key: file("printer.key"),
    });
  const socket = open();
  socket.on("error", () => undefined);
  const text = "<13>1 - - - - - - safe";
  socket.write(`${text.length} ${text}`);
  await until("it", () => got.length === 1);
  assert.equal(got[0]?.origin.certificate, "printer");
  const closed = new Promise((resolve) => socket.on("close", resolve));
  await kernel.lock({ selector: { principal: "printer" }, reason: "stolen" });
  await closed;
  const again = open();
  again.on("error", () => undefined);
  again.write(`${text.length} ${text}`);
  await new Promise((resolve) => again.on("close", resolve));
  assert.equal(got.length, 1);
  assert.deepEqual(faults, []);
  await stop();
});

test("hostile senders: noise ends its own connection, the rest goes on", async () => {
  const { syslog, got, texts, stop, ends, faults } = await receiver({
    maxMessageBytes: 1000,
    connections: 3,
  });
  const { port } = await syslog.listenTcp();
  const say = (text: string) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.write(text);
    return { socket, closed: new Promise((resolve) => socket.on("close", resolve)) };
  };
  const good = say("<13>1 - - - - - - first\n");
  await until("the first", () => got.length === 1);
  for (const noise of ["GET / HTTP/1.1\r\n\r\n", "2000 <13>", `<13>${"x".repeat(1100)}`])
    await say(noise).closed;
  await until("their ends", () => ends.length === 3);
  assert.deepEqual(
    ends.map(({ detail }) => detail?.["reason"]),
    ["protocol-error", "protocol-error", "protocol-error"],
  );
  const idle = [say(""), say("")];
  await until("both", () => syslog.senders === 3);
  await say("<13>one too many\n").closed;
  for (const { socket } of idle) socket.destroy();
  good.socket.write("<13>no RFC's\n13 <999>nonsense");
  good.socket.end();
  await until("the last", () => got.length === 3);
  assert.deepEqual(texts(), ["first", "no RFC's", "<999>nonsense"]);
  assert.equal(syslog.counts.malformed, 1);
  assert.deepEqual(faults, []);
  await stop();
});

test("when nobody takes them, streams wait, datagrams are dropped, and the feed says how many", async () => {
  let open: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => (open = resolve));
  const texts: string[] = [];
  const { syslog, stop, faults } = await receiver({
    pendingBytes: 1000,
    sources: 1,
    deliver: async (message) => {
      await gate;
      texts.push(message.text);
    },
  });
  const { port: tcp } = await syslog.listenTcp();
  const udp = await syslog.listenUdp();
  const stream = connect(tcp, "127.0.0.1");
  const lines = [...Array(2000).keys()].map((number) => `line ${number}`);
  stream.end(lines.map((line) => `<13>${line}\n`).join(""));
  await until("it to be full", () => syslog.counts.messages > 10);
  const socket = createSocket("udp4");
  for (let turn = 0; turn < 50; turn++) socket.send("<13>a datagram", udp, "127.0.0.1");
  await until("drops", () => syslog.counts.dropped > 0);
  socket.close();
  open();
  await until("all lines", () => texts.filter((text) => text.startsWith("line")).length === 2000);
  assert.deepEqual(
    texts.filter((text) => text.startsWith("line")),
    lines,
  );
  const told = texts
    .filter((text) => text.includes("were dropped"))
    .reduce((sum, text) => sum + Number(/^\d+/.exec(text)?.[0]), 0);
  assert.ok(told > 0 && told <= syslog.counts.dropped);
  assert.deepEqual(faults, []);
  await stop();
});

test("a quiet sender is forgotten, and its session says why it ended", async () => {
  const { syslog, kernel, got, stop, ends } = await receiver({ idleMs: 30 });
  const udp = await syslog.listenUdp();
  const socket = createSocket("udp4");
  socket.send("<13>hello", udp, "127.0.0.1");
  await until("it", () => got.length === 1);
  await until("its end", () => ends.length === 1);
  const ended = await kernel.lookUp(ends[0]?.handle as Handle, { ended: true });
  assert.equal(ended?.ended?.reason, "idle-expired");
  assert.equal(syslog.senders, 0);
  socket.close();
  await stop();
});
