import type { Schema } from "../config/index.ts";
import { configSchema } from "../config/index.ts";
import type { ListenerKind } from "./kind.ts";
import { web } from "./web.ts";

/** Every kind of listener there is. To add one: a file like `web.ts`, and its name here. */
const KINDS: readonly ListenerKind[] = [web];

export const listenerKinds: ReadonlyMap<string, ListenerKind> = new Map(
  KINDS.map((kind) => [kind.mechanism, kind]),
);

/** The whole configuration's schema; docs/holdfast.schema.json is this. */
export const schema: Schema = configSchema(
  Object.fromEntries(KINDS.map((kind) => [kind.mechanism, kind.schema])),
);

export type { Listener, ListenerKind, ListenerParts } from "./kind.ts";
