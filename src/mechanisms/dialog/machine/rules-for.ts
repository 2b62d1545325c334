import { isPlain, plainRules } from "./plain-rules.ts";
import type { Rules } from "./rules.ts";
import { fullRules } from "./rules.ts";

/** For whoever has both sets at hand. */
export function rulesFor(units: number): Rules {
  return isPlain(units) ? plainRules : fullRules;
}
