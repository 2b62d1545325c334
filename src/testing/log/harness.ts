import type { LogAck, SessionLog } from "../../kernel/log.ts";
import type { Json } from "../../kernel/record.ts";

/** What a log gives the suite so that it can be tried. */
export interface LogHarness {
  /** Names the tests. */
  readonly name: string;
  /** The strongest acknowledgement it gives here. */
  readonly strongest: LogAck;
  /** A place of its own with nothing in it. Each test takes one. */
  fresh(): Promise<LogData>;
}

export interface LogData {
  /** A handle on this place: as many as wanted. What lives in one process gives the same one again. */
  open(): Promise<SessionLog>;
  /** How another process opens the same place; left out when `reach` is `process`. */
  readonly worker?: LogWorkerSpec;
  /** Makes the system below unreachable; the answer brings it back. Left out where nothing can be down. */
  outage?(): Promise<() => Promise<void>>;
  /** Takes the place away, after the suite has closed every handle it opened. */
  dispose(): Promise<void>;
}

export interface LogWorkerSpec {
  /** URL of a module that exports `openLog(input: Json): Promise<SessionLog>`. */
  readonly module: string;
  readonly input: Json;
}
