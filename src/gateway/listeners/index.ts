import type { ListenerKind } from "../listener.ts";
import { web } from "./web.ts";

/** Every mechanism that can listen, by the name it has in the configuration. */
export const kinds: Readonly<Record<string, ListenerKind>> = { web };
