import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { dial } from "../../../src/mechanisms/socks/index.ts";
import { echo, kept, tcpServer } from "./scene.ts";

test("the example lists a relay with its bytes, and ends it when told to", async (t) => {
  const program = fileURLToPath(new URL("../../../examples/socks-proxy.js", import.meta.url));
  const child = spawn(process.execPath, [program], {
    env: { ...process.env, PORT: "0" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.after(() => child.kill());
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<string> => String((await lines.next()).value);
  const proxy = (await next()).replace("listening on socks5://", "socks5://ann:secret@");
  const target = await tcpServer(t, echo);
  const { socket } = await dial({ proxy, host: "127.0.0.1", port: target });
  kept(t, socket).write("hello");
  await once(socket, "data");
  let listed: string;
  do {
    child.stdin.write("list\n");
    listed = await next();
    assert.equal(await next(), "1 relays");
  } while (listed.endsWith(" 0 bytes"));
  assert.match(listed, new RegExp(`^[0-9a-z]{20} ann 127\\.0\\.0\\.1 → 127\\.0\\.0\\.1:${target} 10 bytes$`));
  const closed = new Promise((resolve) => socket.on("close", resolve));
  child.stdin.write("revoke ann\n");
  assert.match(await next(), /^[0-9a-z]{20} closed$/);
  await closed;
  child.stdin.end();
  assert.deepEqual(await once(child, "exit"), [0, null]);
});
