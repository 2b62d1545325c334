import type { ListenerKind } from "../listener.ts";
import { dialog } from "./dialog.ts";
import { netbios } from "./netbios.ts";
import { socks } from "./socks.ts";
import { syslog } from "./syslog.ts";
import { transfer } from "./transfer.ts";
import { web } from "./web.ts";

/** Every mechanism that can listen, by the name it has in the configuration. */
export const kinds: Readonly<Record<string, ListenerKind>> = {
  web,
  socks,
  netbios,
  dialog,
  syslog,
  transfer,
};
