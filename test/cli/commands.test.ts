import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Terminal } from "../../src/cli/command.ts";
import { commands } from "../../src/cli/commands/index.ts";
import { run } from "../../src/cli/run.ts";
import { writeAdminFile } from "../../src/console/index.ts";
import type { SessionRecord } from "../../src/kernel/index.ts";
import type { Admin } from "../console/admin.ts";
import { startAdmin } from "../console/admin.ts";

let place: Admin;
let folder: string;

before(async () => {
  place = await startAdmin();
  folder = mkdtempSync(join(tmpdir(), "holdfast-cli-"));
  writeAdminFile(folder, { url: place.base, token: place.operator });
});

after(async () => {
  rmSync(folder, { recursive: true, force: true });
  await place.close();
});

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

async function holdfast(args: string, more: Partial<Terminal> = {}): Promise<Outcome> {
  let out = "";
  let error = "";
  const terminal: Terminal = {
    isTerminal: false,
    columns: 200,
    env: { HOLDFAST_DATA: folder },
    signal: new AbortController().signal,
    out: (text) => void (out += text),
    error: (text) => void (error += text),
    ...more,
  };
  const words = args.match(/"[^"]*"|\S+/g)?.map((word) => word.replaceAll('"', "")) ?? [];
  const code = await run(commands, words, "1.2.3", terminal);
  return { code, out, error };
}

async function make(principal: string, more: object = {}): Promise<SessionRecord> {
  return (await place.kernel.establish({ mechanism: "web", mode: "request-response", principal, ...more }))
    .record;
}

test("the file with the token can be read by its user alone", () => {
  assert.equal(statSync(join(folder, "admin.json")).mode & 0o777, 0o600);
});

test("says what it can do, what a command takes, and what is wrong with a word", async () => {
  const help = await holdfast("--help");
  assert.equal(help.code, 0);
  for (const command of commands) assert.match(help.out, new RegExp(`^  ${command.name} `, "m"));
  assert.equal((await holdfast("")).code, 2);
  assert.equal((await holdfast("--version")).out, "holdfast 1.2.3\n");
  for (const command of commands) {
    const own = await holdfast(`${command.name} --help`);
    assert.equal(own.code, 0);
    for (const option of Object.keys(command.options))
      assert.ok(own.out.includes(`--${option}`), `${command.name} --${option} is not explained`);
  }
  const typo = await holdfast("sesions");
  assert.deepEqual([typo.code, /Did you mean "sessions"/.test(typo.error)], [2, true]);
  const option = await holdfast("sessions --colour red");
  assert.deepEqual([option.code, /Unknown option '--colour'/.test(option.error)], [2, true]);
});

test("lists, filters and shows sessions, as a table and as JSON", async () => {
  const parent = await make("ada", {
    label: "a laptop",
    data: { cart: 1 },
    peer: { address: "10.1.2.3" },
    idleMs: 60_000,
  });
  const child = await make("ada", { mechanism: "dialog", parent: parent.handle });
  const list = await holdfast("sessions -p ada");
  assert.equal(list.code, 0);
  assert.match(list.out, /^HANDLE +MECHANISM/);
  assert.ok(
    list.out.includes(parent.handle) && list.out.includes(child.handle) && list.out.includes("10.1.2.3"),
  );
  const json = JSON.parse((await holdfast("sessions laptop --json")).out) as { handle: string }[];
  assert.deepEqual(
    json.map((row) => row.handle),
    [parent.handle],
  );
  assert.equal((await holdfast("sessions -p nobody")).out, "no sessions\n");
  const shown = await holdfast(`show ${parent.handle}`);
  assert.match(shown.out, /idle limit +in \d+s/);
  assert.ok(shown.out.includes('"cart": 1') && shown.out.includes(child.handle));
  assert.equal((await holdfast("show 00000000000000000000")).code, 3);
  assert.equal((await holdfast("show")).code, 2);
});

test("what a peer sent cannot steer the terminal", async () => {
  const { handle } = await make("eve", {
    label: "\u001b[2J\u001b]0;owned\u0007evil",
    peer: { agent: "a\r\nb" },
  });
  for (const command of ["sessions -p eve", `show ${handle}`, `trace ${handle}`]) {
    const { out } = await holdfast(command, { isTerminal: true });
    assert.ok(!out.includes("\u001b[2J") && !out.includes("\u001b]0") && !out.includes("\r"), command);
  }
});

test("traces a life as a ladder", async () => {
  const record = await make("lin", { startedAt: Date.now() });
  await place.kernel.end(await place.kernel.rotate(record).then((made) => made.record), { reason: "logout" });
  const { out, code } = await holdfast(`trace ${record.handle}`);
  assert.equal(code, 0);
  const events = out
    .split("\n")
    .map((line) => /^\d\d:\S+ +\S +(\S+)/.exec(line)?.[1])
    .filter(Boolean);
  assert.deepEqual(events, ["begin", "establish", "issue", "rotate", "end"]);
});

test("revokes after a preview, asks for a reason and for --yes, and shows the receipts", async () => {
  await make("max");
  const live = (
    await place.kernel.establish({ mechanism: "socks", mode: "full-duplex", principal: "max", own: true })
  ).record;
  await place.kernel.attach(live, { close: () => {} });
  assert.match(
    (await holdfast("revoke -p max --preview")).out,
    /2 sessions: 1 socks, 1 web|2 sessions: 1 web, 1 socks/,
  );
  assert.equal((await holdfast("revoke -p max")).code, 2);
  const unasked = await holdfast("revoke -p max -r test");
  assert.deepEqual([unasked.code, /means 2 sessions; say --yes/.test(unasked.error)], [2, true]);
  assert.equal((await holdfast("revoke")).code, 2);
  const done = await holdfast('revoke -p max -r "left the company" --yes');
  assert.deepEqual([done.code, /2 ended, 2 closed/.test(done.out)], [0, true]);
  assert.equal((await place.kernel.lookUp(live.handle, { ended: true }))?.ended?.by, "op");
});

test("a connection that cannot be closed is exit code 5", async () => {
  const live = (
    await place.kernel.establish({ mechanism: "socks", mode: "full-duplex", principal: "ned", own: true })
  ).record;
  await place.kernel.attach(live, { close: () => Promise.reject(new Error("stuck")) });
  const { code, out } = await holdfast(`revoke ${live.handle} -r test`);
  assert.deepEqual([code, /1 failed/.test(out)], [5, true]);
});

test("locks, lists locks and unlocks", async () => {
  const locked = await holdfast("lock -p olga -r audit --for 2h");
  assert.equal(locked.code, 0);
  const id = /: (\S+)\n/.exec(locked.out)?.[1] ?? "";
  await assert.rejects(make("olga"));
  assert.match((await holdfast("locks")).out, /principal olga +in (2h|120m)/);
  assert.equal((await holdfast(`unlock ${id}`)).code, 0);
  assert.equal((await holdfast(`unlock ${id}`)).code, 3);
  assert.equal((await holdfast("lock -p olga -r x --for soon")).code, 2);
});

test("lists nodes and watches what happens until it is interrupted", async () => {
  assert.match((await holdfast("nodes")).out, /here +alive/);
  const interrupt = new AbortController();
  let seen = "";
  const watching = holdfast("watch -p pat --json", {
    signal: interrupt.signal,
    out: (text) => {
      seen += text;
      if (seen.includes('"issue"')) interrupt.abort();
    },
  });
  const making = setInterval(() => void make("pat"), 200);
  const outcome = await watching;
  clearInterval(making);
  assert.equal(outcome.code, 0);
  const entries = seen
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { principal: string });
  assert.ok(entries.length >= 2 && entries.every((entry) => entry.principal === "pat"));
});

test("a gateway that is not there, or does not know the token, is exit code 4", async () => {
  const nowhere = await holdfast("sessions", { env: { HOLDFAST_DATA: join(folder, "none") } });
  assert.deepEqual([nowhere.code, /holdfast up/.test(nowhere.error)], [4, true]);
  assert.equal((await holdfast("sessions --url http://127.0.0.1:1 --token x")).code, 4);
  assert.equal((await holdfast(`sessions --url ${place.base} --token ${"A".repeat(43)}`)).code, 4);
  assert.equal(
    (await holdfast(`revoke -p x -r y --url ${place.base} --token ${place.viewer}`)).code,
    1,
    "a viewer may not",
  );
});

test("colours only on a terminal that wants them", async () => {
  await make("col");
  const coloured = (env: Terminal["env"], isTerminal: boolean): Promise<boolean> =>
    holdfast("sessions -p col", { isTerminal, env: { HOLDFAST_DATA: folder, ...env } }).then(({ out }) =>
      out.includes("\u001b["),
    );
  assert.deepEqual(
    [await coloured({}, true), await coloured({ NO_COLOR: "1" }, true), await coloured({}, false)],
    [true, false, false],
  );
});

test("completes commands and options in bash", () => {
  const script = `source <(${process.execPath} build/src/cli/main.js completion bash)
    COMP_WORDS=(holdfast rev); COMP_CWORD=1; _holdfast; echo "\${COMPREPLY[*]}"
    COMP_WORDS=(holdfast revoke --prin); COMP_CWORD=2; _holdfast; echo "\${COMPREPLY[*]}"`;
  const { stdout, stderr } = spawnSync("bash", ["-c", script], { encoding: "utf8" });
  assert.equal(stdout, "revoke\n--principal\n", stderr);
});
