import type { Command } from "../command.ts";
import { completionOf } from "./completion.ts";
import { demo } from "./demo.ts";
import { get } from "./get.ts";
import { lock, locks, unlock } from "./locks.ts";
import { nodes } from "./nodes.ts";
import { password } from "./password.ts";
import { put } from "./put.ts";
import { revoke } from "./revoke.ts";
import { sessions } from "./sessions.ts";
import { show } from "./show.ts";
import { tls } from "./tls.ts";
import { trace } from "./trace.ts";
import { init, up } from "./up.ts";
import { watch } from "./watch.ts";

/** Every command there is, in the order in which `holdfast --help` lists them. */
export const commands: readonly Command[] = [
  up,
  init,
  demo,
  sessions,
  show,
  trace,
  watch,
  revoke,
  lock,
  locks,
  unlock,
  nodes,
  tls,
  put,
  get,
  password,
  completionOf(() => commands),
];
