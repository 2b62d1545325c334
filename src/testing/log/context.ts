import { test } from "node:test";
import type { TestContext } from "node:test";
import type { SessionLog } from "../../kernel/log.ts";
import type { LogData, LogHarness } from "./harness.ts";

export interface LogCase {
  readonly t: TestContext;
  readonly data: LogData;
  readonly open: () => Promise<SessionLog>;
}

/** Registers one case with a place of its own; what it opens is closed after it, whatever happened. */
export function logCase(harness: LogHarness, title: string, run: (context: LogCase) => Promise<void>): void {
  void test(`${harness.name} log: ${title}`, { timeout: 300_000 }, async (t) => {
    const data = await harness.fresh();
    const logs: SessionLog[] = [];
    try {
      await run({
        t,
        data,
        async open() {
          const log = await data.open();
          logs.push(log);
          return log;
        },
      });
    } finally {
      await Promise.all(logs.map((log) => log.close()));
      await data.dispose();
    }
  });
}
