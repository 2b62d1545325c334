import { HoldfastError } from "./errors.ts";
import type { Json } from "./record.ts";

/**
 * What an application keeps in a session is JSON, and no more of it than `limitBytes`: anything else would read
 * differently from one store than from another.
 * @throws HoldfastError `invalid-argument` for what is no JSON, naming it; `limit-reached` for too much.
 */
export function assertData(data: Json, limitBytes: number): void {
  if (data === null) return;
  const bytes = Buffer.byteLength(text(data));
  if (bytes > limitBytes) {
    throw new HoldfastError(
      "limit-reached",
      `A session holds at most ${limitBytes} bytes of data; keep large things elsewhere and their name here.`,
      { detail: { bytes } },
    );
  }
  const stranger = firstStranger(data, "data");
  if (stranger !== undefined) throw noJson(stranger);
}

function text(data: Json): string {
  try {
    // The type says that there is a text; a caller without types may have passed a function.
    return (JSON.stringify(data) as string | undefined) ?? "";
  } catch (cause) {
    throw noJson(cause instanceof Error ? cause.message : String(cause));
  }
}

/** Where in `value` something is that JSON has no form for. Members that are undefined count as left out. */
function firstStranger(value: unknown, at: string): string | undefined {
  switch (typeof value) {
    case "string":
    case "boolean":
      return undefined;
    case "number":
      return Number.isFinite(value) ? undefined : `${at} is ${value}`;
    case "object":
      if (value === null) return undefined;
      if (Array.isArray(value)) {
        for (let i = 0; i < value.length; i++) {
          const found = firstStranger(value[i], `${at}[${i}]`);
          if (found !== undefined) return found;
        }
        return undefined;
      }
      if (!isPlain(value)) return `${at} is a ${value.constructor?.name ?? "thing of its own kind"}`;
      for (const [name, member] of Object.entries(value)) {
        const found = member === undefined ? undefined : firstStranger(member, `${at}.${name}`);
        if (found !== undefined) return found;
      }
      return undefined;
    default:
      return `${at} is ${typeof value}`;
  }
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null;
}

function noJson(why: string): HoldfastError {
  const hint = why.endsWith("a Promise") ? "; the function that changes it must not be async" : "";
  return new HoldfastError("invalid-argument", `A session holds JSON and nothing else: ${why}${hint}.`);
}
