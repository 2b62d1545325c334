import { posix } from "node:path";
import { lineOf, readSource } from "../../script/source-text.ts";
import type { TextFile } from "../../script/docs/sources.ts";

/** What package.json says, as far as the checks care. */
export interface Manifest {
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
  readonly bin?: Readonly<Record<string, string>>;
  readonly scripts: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

// Every check returns one sentence for each thing that is wrong.

export function tooLong(
  files: readonly TextFile[],
  limit: number,
  exceptions: Readonly<Record<string, number>>,
): string[] {
  return files.flatMap(({ path, source }) => {
    const lines = source.split("\n").length - (source.endsWith("\n") ? 1 : 0);
    const allowed = exceptions[path] ?? limit;
    return lines > allowed ? [`${path} has ${lines} lines, more than ${allowed}`] : [];
  });
}

/** Paths that only exist on somebody's machine: home folders, and the place this checkout stands in. */
export function machinePaths(files: readonly TextFile[], root: string, home: string): string[] {
  const first = `/${root.split("/")[1] ?? ""}`;
  const shared = ["/home", "/Users", "/root", "/tmp", "/usr", "/var", "/opt", "/srv", "/mnt", "/"];
  const places = [shared.includes(first) ? root : `${first}/`, home.length > 1 ? `${home}/` : root];
  const escaped = places.map((place) => place.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const pattern = new RegExp(`(?<![\\w./-])(?:${escaped.join("|")}|/(?:home|Users)/[a-z][\\w.-]*/)`, "g");
  return files.flatMap(({ path, source }) =>
    [...source.matchAll(pattern)].map((match) => `${path}:${lineOf(source, match.index)}: ${match[0]}`),
  );
}

/** Where packages are downloaded from is the user's affair, not the repository's. */
export function downloadAddresses(files: readonly TextFile[]): string[] {
  const pattern = /"resolved":|\bregistry\.[\w-]+\.[a-z]+|^\s*registry\s*=|\.tgz"/gm;
  return files.flatMap(({ path, source }) =>
    [...source.matchAll(pattern)].map(
      (match) => `${path}:${lineOf(source, match.index)}: ${match[0].trim()}`,
    ),
  );
}

/** Relative links of Markdown pages that lead nowhere; with a #fragment, to no heading. */
export function deadLinks(pages: readonly TextFile[], exists: (path: string) => boolean): string[] {
  const byPath = new Map(pages.map((page) => [page.path, page]));
  return pages.flatMap((page) => {
    const text = withoutFences(page.source);
    return [...text.matchAll(/\]\(\s*<?([^)\s>]+)>?[^)]*\)|\b(?:src|href)="([^"]+)"/g)].flatMap((match) => {
      const target = match[1] ?? match[2] ?? "";
      if (/^[a-z][a-z+.-]*:/i.test(target)) return [];
      const [file = "", fragment] = target.split("#");
      const path =
        file === "" ? page.path : posix.normalize(posix.join(posix.dirname(page.path), decodeURI(file)));
      const place = `${page.path}:${lineOf(text, match.index)}`;
      if (path.startsWith("..") || !exists(path)) return [`${place}: ${target} does not exist`];
      const there = byPath.get(path);
      const isHeading =
        fragment === undefined || there === undefined || headingsOf(there.source).includes(fragment);
      return isHeading ? [] : [`${place}: no heading #${fragment} in ${path}`];
    });
  });
}

/** Commands that pages tell people to type, and that do not exist. */
export function deadCommands(
  pages: readonly TextFile[],
  manifest: Manifest,
  exists: (path: string) => boolean,
): string[] {
  return pages.flatMap(({ path, source }) => {
    const say = (at: number, what: string): string => `${path}:${lineOf(source, at)}: ${what}`;
    const scripts = [...source.matchAll(/npm run (?:--?\w+ )*([\w:-]+)(?: -- ([a-z][\w-]*))?/g)].flatMap(
      (match) => {
        const [, name = "", bench] = match;
        if (manifest.scripts[name] === undefined) return [say(match.index, `there is no npm run ${name}`)];
        if (name !== "bench" || bench === undefined || exists(`bench/${bench}.ts`)) return [];
        return [say(match.index, `there is no bench/${bench}.ts`)];
      },
    );
    const files = [...source.matchAll(/(?<![\w./-])(?:\.\/)?((?:script|\.ci)\/[\w-]+(?:\.\w+)?)/g)].flatMap(
      (match) => (exists(match[1] ?? "") ? [] : [say(match.index, `there is no ${match[1]}`)]),
    );
    return [...scripts, ...files];
  });
}

/** Exports and programs without a source file, and places meant to be used (`./web`) that are not exported. */
export function exportsAstray(
  manifest: Manifest,
  exists: (path: string) => boolean,
  places: readonly string[],
): string[] {
  const broken: string[] = [];
  for (const [name, target] of Object.entries(manifest.exports)) {
    if (name === "./package.json") continue;
    const { types, default: code } = typeof target === "string" ? { types: "", default: target } : target;
    const source = sourceOf(code ?? "");
    if (!exists(source)) broken.push(`exports ${name} leads to ${source}, which does not exist`);
    if (types !== code?.replace(/\.js$/, ".d.ts"))
      broken.push(`exports ${name} names types ${types} beside ${code}`);
  }
  for (const [name, target] of Object.entries(manifest.bin ?? {})) {
    if (!exists(sourceOf(target)))
      broken.push(`bin ${name} leads to ${sourceOf(target)}, which does not exist`);
  }
  for (const place of places)
    if (manifest.exports[place] === undefined) broken.push(`${place} is not exported`);
  return broken;
}

export function loosePins(manifest: Manifest): string[] {
  return [manifest.dependencies, manifest.devDependencies].flatMap((group) =>
    Object.entries(group ?? {}).flatMap(([name, version]) =>
      /^(?:npm:[@\w/.-]+@)?\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(version)
        ? []
        : [`${name} is not pinned exactly: ${version}`],
    ),
  );
}

/** Tests that leave others out, or are left out themselves with nobody told why. */
export function leftOut(files: readonly TextFile[]): string[] {
  const runner = String.raw`(?<![\w$.])(?:test|it|describe|suite)\.(?:only|skip|todo)\b`;
  const pattern = new RegExp(
    String.raw`${runner}|\.(?:only|skip|todo)\(\s*\)|(?<![\w$.])(?:only|skip|todo): *true\b|(?<![\w$.])skip: *(?:""|''|${"``"})|\.skip\((?:""|'')\)`,
    "g",
  );
  return files.flatMap(({ path, source }) => {
    const { code } = readSource(source);
    return [...code.matchAll(pattern)].map((match) => `${path}:${lineOf(source, match.index)}: ${match[0]}`);
  });
}

function sourceOf(target: string): string {
  return target.replace(/^\.\/dist\//, "src/").replace(/\.js$/, ".ts");
}

/** Fenced blocks blanked out, lines kept. */
function withoutFences(text: string): string {
  return text.replace(/^(```|~~~)[\s\S]*?^\1/gm, (block) => block.replace(/[^\n]/g, " "));
}

/** Headings as the fragments that hosting sites make of them. */
function headingsOf(text: string): string[] {
  const seen = new Map<string, number>();
  return [...withoutFences(text).matchAll(/^#{1,6}\s+(.+?)\s*#*$/gm)].map(([, title = ""]) => {
    const slug = title
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replace(/\s/g, "-");
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    return count === 0 ? slug : `${slug}-${count}`;
  });
}
