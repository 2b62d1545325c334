import { spanMs } from "../mechanisms/web/index.ts";

/** Milliseconds of a span that the schema has checked. */
export function configSpan(text: string | undefined, otherwise: number): number {
  return (text === undefined ? undefined : spanMs(text)) ?? otherwise;
}

/** Limits that the schema has checked, under the names that code has for them: spans in milliseconds, numbers as they are. */
export function configLimits<Name extends string, Target extends string>(
  written: { readonly [name in NoInfer<Name>]?: string | number } | undefined,
  names: Readonly<Record<Name, Target>>,
): { readonly [name in Target]?: number } {
  const limits: { [name in Target]?: number } = {};
  for (const name of Object.keys(names) as Name[]) {
    const value: string | number | undefined = written?.[name];
    const limit = typeof value === "string" ? spanMs(value) : value;
    if (limit !== undefined) limits[names[name]] = limit;
  }
  return limits;
}
