import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";
import { isHoldfastError } from "../../src/kernel/index.ts";
import { connect, queryName } from "../../src/mechanisms/netbios/index.ts";

test("examples/netbios-gateway relays a name, answers for it, shows a probe, and drains on SIGTERM", async () => {
  const backend = createServer((socket) => {
    socket.on("error", () => {});
    socket.pipe(socket);
  }).listen(0, "127.0.0.1");
  await once(backend, "listening");
  const at = backend.address();
  assert.ok(at !== null && typeof at !== "string");
  const example = new URL("../../examples/netbios-gateway.js", import.meta.url).pathname;
  const child = spawn(
    process.execPath,
    [example, "127.0.0.1", `FILESRV=127.0.0.1:${at.port}`, "--port=0", "--name-port=0"],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  const exited = once(child, "exit");
  let output = "";
  const shows = async (pattern: RegExp): Promise<RegExpExecArray> => {
    for (let attempt = 0; attempt < 1_200; attempt++) {
      const found = pattern.exec(output);
      if (found !== null) return found;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error(`no ${pattern.source} in ${output}`);
  };
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  try {
    const [, sessions, lookups] = await shows(/sessions on 127\.0\.0\.1:(\d+), names on 127\.0\.0\.1:(\d+)/u);
    const found = await queryName("FILESRV", { host: "127.0.0.1", port: Number(lookups) });
    assert.ok(found.ok && found.entries[0]?.address === "127.0.0.1");
    const to = { host: "127.0.0.1", port: Number(sessions) };
    await assert.rejects(connect({ ...to, called: "NOSUCH" }), (error) =>
      isHoldfastError(error, "establish-refused"),
    );
    await shows(/note .*"call refused".*"NOSUCH<20>"/u);
    const session = await connect({ ...to, called: "FILESRV" });
    await session.send(Buffer.from("hello"));
    for await (const message of session) {
      assert.equal(message.toString(), "hello");
      break;
    }
    child.kill("SIGTERM");
    await session.close();
    await shows(/end \w+ .*"finished"/u);
    assert.deepEqual(await exited, [0, null]);
  } finally {
    child.kill("SIGKILL");
    backend.close();
  }
});
