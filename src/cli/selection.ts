import type { SelectorBody } from "../console/index.ts";
import type { Options, Values } from "./command.ts";
import { CommandError, textOf } from "./command.ts";

/** How the command line names sessions: handles as words, everything else as options. All conditions hold together. */
export const SELECTION: Options = {
  principal: { type: "string", short: "p" },
  role: { type: "string" },
  mechanism: { type: "string", short: "m" },
  node: { type: "string" },
  device: { type: "string" },
  tenant: { type: "string" },
  parent: { type: "string" },
  except: { type: "string", multiple: true },
  all: { type: "boolean" },
};

export const SELECTION_HELP = `
  HANDLE...            these sessions
  -p, --principal WHO  everything of a principal
  -m, --mechanism NAME web, dialog, transfer, socks, netbios, …
      --role, --node, --device, --tenant, --parent
                       narrow it further: all that is named must hold
      --except HANDLE  spare this one (may be said again)
      --all            everybody's`;

export function selectorOf(values: Values, handles: readonly string[]): SelectorBody {
  const selector: Record<string, unknown> = {};
  if (handles.length > 0) selector["handle"] = handles.length === 1 ? handles[0] : handles;
  for (const name of ["principal", "role", "mechanism", "node", "device", "tenant", "parent"]) {
    const value = textOf(values, name);
    if (value !== undefined) selector[name] = value;
  }
  if (values["all"] === true) selector["all"] = true;
  if (Object.keys(selector).length === 0) {
    throw new CommandError(
      "Say which sessions: handles, or one of --principal, --mechanism, --node, --tenant, …; or --all.",
    );
  }
  if (values["except"] !== undefined) selector["except"] = values["except"];
  return selector;
}

export function describe(selector: SelectorBody): string {
  if (selector.all === true) return "all sessions";
  return Object.entries(selector)
    .map(([name, value]) => `${name} ${Array.isArray(value) ? value.join(", ") : String(value)}`)
    .join(", ");
}
