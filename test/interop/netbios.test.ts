import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { after, before, describe, test } from "node:test";
import type { JournalEntry, Kernel, SessionRecord } from "../../src/kernel/index.ts";
import { createKernel } from "../../src/kernel/index.ts";
import type { NameService, NetbiosGateway } from "../../src/mechanisms/netbios/index.ts";
import { createNameService, createNetbios } from "../../src/mechanisms/netbios/index.ts";
import { memory } from "../../src/store/memory/index.ts";
import type { Ran, Samba } from "./samba.ts";
import { inside, missing, run, startSamba, stopChild } from "./samba.ts";

const absent = missing("smbd", "smbclient", "rpcclient", "nmblookup", "nbtscan");
const skip = absent !== undefined && `${absent} is not installed`;

describe("Samba's and impacket's clients through the gateway", { skip }, () => {
  let samba: Samba;
  let kernel: Kernel;
  let gateway: NetbiosGateway;
  let names: NameService;
  let address: string;
  let directory: string;
  const journal: JournalEntry[] = [];

  before(async () => {
    samba = await startSamba();
    kernel = createKernel({ store: memory() });
    await kernel.start();
    kernel.onEntry((entry) => journal.push(entry));
    gateway = createNetbios({
      kernel,
      backends: { nas: { host: "127.0.0.1", port: samba.port } },
      routes: [{ called: "FILESRV", backend: "nas" }],
      keepalive: { everyMs: 50, during: "always" },
      countsEveryMs: 50,
    });
    address = await listenSomewhere(gateway);
    names = createNameService({ kernel, names: ["FILESRV"], addresses: [address] });
    await names.listen({ host: address });
    directory = mkdtempSync(join(tmpdir(), "holdfast-netbios-"));
    writeFileSync(
      join(directory, "smb.conf"),
      "[global]\ninterfaces = 127.0.0.1/8\nclient min protocol = NT1\n",
    );
  });

  after(async () => {
    await names.close();
    await gateway.close();
    await kernel.close();
    await samba.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  /** smbclient's usual arguments, with a configuration of our own. */
  function client(name: string, protocol: string): string[] {
    return [
      "-s",
      join(directory, "smb.conf"),
      "-N",
      "-I",
      address,
      "-p",
      "139",
      "-m",
      protocol,
      `//${name}/share`,
    ];
  }

  function smbclient(name: string, protocol: string, commands: string): Promise<Ran> {
    return run("smbclient", [...client(name, protocol), "-c", commands], { cwd: directory });
  }

  for (const protocol of ["SMB3", "SMB2", "NT1"]) {
    test(`smbclient with ${protocol} lists, puts and gets 30 MB unchanged, with keepalives every 50 ms`, async () => {
      const content = randomBytes(30_000_000);
      writeFileSync(join(directory, "up.bin"), content);
      const ran = await smbclient(
        "FILESRV",
        protocol,
        `put up.bin ${protocol}.bin; ls; get ${protocol}.bin down.bin`,
      );
      assert.equal(ran.status, 0, ran.output);
      assert.match(ran.output, new RegExp(`${protocol}\\.bin +A? +30000000`, "u"));
      assert.equal(digest(join(samba.share, `${protocol}.bin`)), sha256(content));
      assert.equal(digest(join(directory, "down.bin")), sha256(content));
      assert.ok(gateway.stats().keepalivesSent > 0);
      const record = await lastEnded(kernel);
      assert.equal(record.ended?.reason, "finished");
      assert.equal(record.label, "FILESRV<20>");
      const { up, down } = countsOf(record);
      assert.ok(up > 30_000_000 && down > 30_000_000 && up + down < 70_000_000, `${up} up, ${down} down`);
    });
  }

  test("an unknown name is refused, its retry as *SMBSERVER too, and both show in the journal", async () => {
    const ran = await smbclient("NOSUCH", "SMB3", "ls");
    assert.notEqual(ran.status, 0);
    assert.match(ran.output, /NT_STATUS_RESOURCE_NAME_NOT_FOUND/u);
    await until("the probe", () =>
      journal.some(
        ({ event, detail }) =>
          event === "note" && detail?.["what"] === "call refused" && detail["name"] === "NOSUCH<20>",
      ),
    );
    assert.equal(gateway.stats().refused, 2);
  });

  test("rpcclient reaches the backend's services", async () => {
    const args = [
      "-s",
      join(directory, "smb.conf"),
      "-N",
      "-U",
      "%",
      "-I",
      address,
      "-p",
      "139",
      "FILESRV",
      "-c",
      "srvinfo",
    ];
    const ran = await run("rpcclient", args);
    assert.equal(ran.status, 0, ran.output);
    assert.match(ran.output, /platform_id/u);
  });

  test("impacket lists, puts and gets, and is refused under a wrong name", async (context) => {
    const python = ["/usr/bin/python3", "python3"].find((one) => existsSync(one)) ?? "python3";
    const installed = await run(python, ["-c", "import impacket"]);
    if (installed.status !== 0) {
      if (process.env["CI"] === "true") assert.fail("python3-impacket is not installed");
      context.skip("python3-impacket is not installed");
      return;
    }
    const script = join(directory, "client.py");
    writeFileSync(script, IMPACKET);
    const ran = await run(python, [script, "FILESRV", address]);
    assert.equal(ran.status, 0, ran.output);
    assert.match(ran.output, /same bytes/u);
    const wrong = await run(python, [script, "NOSUCH", address]);
    assert.notEqual(wrong.status, 0);
    assert.match(wrong.output, /Cannot request session \(Called Name:NOSUCH\)/u);
  });

  test("revoke ends a client in the middle of its work", async () => {
    const child = spawn("smbclient", client("FILESRV", "SMB3"), {
      stdio: ["pipe", "pipe", "pipe"],
      cwd: directory,
    });
    const said: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => said.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => said.push(chunk));
    try {
      child.stdin.write("ls\n");
      // Its answer waits in its buffer; that it got one shows in the counts, which then stand still.
      const live = await until("its listing", async () => {
        const { found } = await kernel.store.list({ term: "m:netbios", limit: 10 });
        const record = found[0]?.record;
        return (
          found.length === 1 &&
          record?.checkpoint !== undefined &&
          record.checkpoint.position > 1_500 &&
          record
        );
      });
      const revocation = await kernel.revoke({ handle: live.handle }, { reason: "test" });
      const [receipt] = await revocation.settled;
      assert.equal(receipt?.state, "closed");
      const closed = once(child, "close");
      child.stdin.end("ls\n");
      await closed;
      assert.match(String(Buffer.concat(said)), /NT_STATUS_CONNECTION_(DISCONNECTED|RESET)/u);
    } finally {
      await stopChild(child);
    }
  });

  test("nmblookup and nbtscan find the gateway by its name, and its name by its address", async () => {
    const config = ["-s", join(directory, "smb.conf")];
    const found = await run("nmblookup", [...config, "-U", address, "--recursion", "FILESRV#20"]);
    assert.ok(found.output.includes(`${address} FILESRV<20>`), found.output);
    const missed = await run("nmblookup", [...config, "-U", address, "--recursion", "NOSUCH"]);
    assert.match(missed.output, /failed to find name NOSUCH/u);
    const status = await run("nmblookup", [...config, "-A", address]);
    assert.match(status.output, /FILESRV +<20> - +H <ACTIVE>/u);
    const scan = await run("nbtscan", ["-q", address]);
    assert.match(scan.output, new RegExp(`${address} +FILESRV +<server>`, "u"));
  });
});

describe("names on a network of their own, with broadcasts", { skip }, () => {
  test("broadcast queries, WINS registration by nmbd, and smbclient by name", async (context) => {
    const network = await namespaces(context);
    if (network === undefined) return;
    const { near, far, close } = network;
    const directory = mkdtempSync(join(tmpdir(), "holdfast-nmbd-"));
    const samba = await startSamba({ namespace: far.namespace, address: far.address });
    const host = new URL("./netbios-host.js", import.meta.url).pathname;
    const [command, args] = inside(
      far.namespace,
      process.execPath,
      host,
      far.address,
      BROADCAST,
      String(samba.port),
    );
    const gateway = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
    const said: Buffer[] = [];
    gateway.stdout.on("data", (chunk: Buffer) => said.push(chunk));
    try {
      await until("the gateway", () => String(Buffer.concat(said)).includes("ready"));
      const config = join(directory, "smb.conf");
      for (const part of ["private", "lock", "state", "cache", "pid", "ncalrpc"])
        await run("mkdir", [join(directory, part)]);
      writeFileSync(config, nmbdConfiguration(directory, near.address, far.address));
      const within = (program: string, ...more: readonly string[]): Promise<Ran> =>
        run(...inside(near.namespace, program, "-s", config, ...more));
      const broadcast = await within("nmblookup", "-B", BROADCAST, "FILESRV#20");
      assert.ok(broadcast.output.includes(`${far.address} FILESRV<20>`), broadcast.output);
      const absentName = await within("nmblookup", "-B", BROADCAST, "NOSUCH");
      assert.match(absentName.output, /failed to find name/u);

      const flags = ["--foreground", "--no-process-group", "-s", config, "-l", directory];
      const nmbd = spawn(...inside(near.namespace, "nmbd", ...flags), { stdio: "ignore", detached: true });
      try {
        await until("nmbd's registration", () => {
          gateway.stdin.write("?\n");
          return String(Buffer.concat(said)).includes('"WINSBOX<20>"');
        });
        const winsbox = await within("nmblookup", "-U", far.address, "--recursion", "WINSBOX#20");
        assert.ok(winsbox.output.includes(`${near.address} WINSBOX<20>`), winsbox.output);
      } finally {
        await stopChild(nmbd);
      }
      // No address is given: the client has to find FILESRV through the name service, and then the share behind it.
      const listed = await within(
        "smbclient",
        "-N",
        "-p",
        "139",
        "-R",
        "wins",
        "//FILESRV/share",
        "-c",
        "ls",
      );
      assert.equal(listed.status, 0, listed.output);
      assert.match(listed.output, /blocks available/u);
    } finally {
      gateway.stdin.end();
      await stopChild(gateway);
      await samba.stop();
      rmSync(directory, { recursive: true, force: true });
      await close();
    }
  });
});

interface Side {
  readonly address: string;
  readonly namespace: string;
}

const BROADCAST = "10.77.0.255";

/** Two network namespaces joined by a cable; skips the test where the kernel does not let us make them. */
async function namespaces(
  context: TestContext,
): Promise<{ near: Side; far: Side; close: () => Promise<void> } | undefined> {
  if (missing("ip") !== undefined) return skipped(context, "ip (iproute2) is not installed");
  const id = `hf${process.pid.toString(36)}`;
  const [a, b] = [`${id}a`, `${id}b`];
  const made = await run("ip", ["netns", "add", a]);
  if (made.status !== 0)
    return skipped(context, `network namespaces are not permitted here: ${made.output.trim()}`);
  const close = async (): Promise<void> => {
    await run("ip", ["netns", "del", a]);
    await run("ip", ["netns", "del", b]);
  };
  const commands = [
    ["netns", "add", b],
    ["link", "add", "eth0", "netns", a, "type", "veth", "peer", "name", "eth0", "netns", b],
    ...[a, b].flatMap((one, index) => [
      ["-n", one, "addr", "add", `10.77.0.${index + 1}/24`, "broadcast", BROADCAST, "dev", "eth0"],
      ["-n", one, "link", "set", "lo", "up"],
      ["-n", one, "link", "set", "eth0", "up"],
    ]),
  ];
  for (const command of commands) {
    const ran = await run("ip", command);
    if (ran.status !== 0) {
      await close();
      return skipped(
        context,
        `no cable between network namespaces here: ip ${command.join(" ")}: ${ran.output.trim()}`,
      );
    }
  }
  return {
    near: { namespace: a, address: "10.77.0.1" },
    far: { namespace: b, address: "10.77.0.2" },
    close,
  };
}

function skipped(context: TestContext, why: string): undefined {
  context.skip(why);
}

function nmbdConfiguration(directory: string, address: string, wins: string): string {
  return [
    "[global]",
    "workgroup = LABGRP",
    "netbios name = WINSBOX",
    `interfaces = ${address}/24`,
    "bind interfaces only = no",
    `wins server = ${wins}`,
    `private dir = ${directory}/private`,
    `lock directory = ${directory}/lock`,
    `state directory = ${directory}/state`,
    `cache directory = ${directory}/cache`,
    `pid directory = ${directory}/pid`,
    `ncalrpc dir = ${directory}/ncalrpc`,
    "",
  ].join("\n");
}

/** smbclient calls names on port 139 only, so the gateway gets an address of 127.0.0.0/8 where that is free. */
async function listenSomewhere(gateway: NetbiosGateway): Promise<string> {
  for (let attempt = 0; ; attempt++) {
    const host = `127.${randomInt(100, 200)}.${randomInt(256)}.${randomInt(1, 255)}`;
    try {
      return (await gateway.listen({ host })).host;
    } catch (error) {
      if (attempt === 20) throw error;
    }
  }
}

async function lastEnded(kernel: Kernel): Promise<SessionRecord> {
  const before = Date.now();
  return until("the session's end", async () => {
    const { found } = await kernel.store.list({ term: "m:netbios", limit: 10 });
    if (found.length > 0) return undefined;
    const ended = (await kernel.store.list({ term: "ended", limit: 100 })).found.map(({ record }) => record);
    return ended
      .toSorted((x, y) => (y.ended?.at ?? 0) - (x.ended?.at ?? 0))
      .find(({ createdAt }) => createdAt <= before);
  });
}

function countsOf(record: SessionRecord): { up: number; down: number } {
  const note = record.checkpoint?.note;
  if (typeof note !== "object" || note === null || !("up" in note) || !("down" in note))
    assert.fail("no counts");
  return { up: Number(note.up), down: Number(note.down) };
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function digest(path: string): string {
  return sha256(readFileSync(path));
}

async function until<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  for (let attempt = 0; attempt < 1_200; attempt++) {
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`waited in vain for ${what}`);
}

const IMPACKET = `
import io, os, sys
from impacket.smbconnection import SMBConnection
name, address = sys.argv[1], sys.argv[2]
smb = SMBConnection(name, address, myName="IMPACKET", sess_port=139)
smb.login("", "")
content = os.urandom(3000000)
smb.putFile("share", "impacket.bin", io.BytesIO(content).read)
listed = [entry.get_longname() for entry in smb.listPath("share", "*")]
assert "impacket.bin" in listed, listed
back = io.BytesIO()
smb.getFile("share", "impacket.bin", back.write)
assert back.getvalue() == content
smb.logoff()
print("same bytes")
`;
