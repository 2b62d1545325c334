import { builtinModules } from "node:module";
import { posix } from "node:path";
import { lineOf, readSource } from "../../script/source-text.ts";

/** All that the four at the top may know; among themselves, each only those named before it. */
const BELOW = ["wire", "kernel", "store", "transport", "mechanisms", "governance", "testing"];

/** Who may know whom, as data. Patterns are folders or files below src/; `*` is one name. The first that fits counts. */
const RULES: readonly ImportRule[] = [
  // Doors of the package that put a mechanism together with its defaults; nothing knows them.
  { where: "*.ts", may: BELOW, builtins: "any", packages: false },
  { where: "wire", may: [], builtins: "none", packages: false },
  { where: "kernel", may: [], builtins: ["crypto", "util"], packages: false, clockOnlyIn: "kernel/clock.ts" },
  { where: "store/*.ts", may: ["kernel", "store/*.ts"], builtins: "any", packages: true },
  { where: "store/near", may: ["kernel", "store/*.ts"], builtins: "any", packages: true },
  { where: "store/*", may: ["kernel", "store/near", "store/*.ts"], builtins: "any", packages: true },
  { where: "transport", may: ["wire", "kernel"], builtins: "any", packages: true },
  {
    where: "mechanisms/nfs",
    may: ["kernel", "wire", "transport", "mechanisms/rpc/onc"],
    builtins: "any",
    packages: true,
  },
  { where: "mechanisms/*", may: ["kernel", "wire", "transport"], builtins: "any", packages: true },
  { where: "governance", may: ["kernel"], builtins: "any", packages: true },
  { where: "testing", may: ["kernel"], builtins: "any", packages: true, opaque: true },
  { where: "doctor", may: BELOW, builtins: "any", packages: true, opaque: true },
  { where: "console", may: [...BELOW, "doctor"], builtins: "any", packages: true, opaque: true },
  { where: "gateway", may: [...BELOW, "doctor", "console"], builtins: "any", packages: true, opaque: true },
  {
    where: "cli",
    may: [...BELOW, "doctor", "console", "gateway"],
    builtins: "any",
    packages: true,
    opaque: true,
  },
];

/** Rooms of a mechanism that must stay pure, with everything they draw in from their own folder. */
const ROOMS: readonly RoomRule[] = [
  { room: "codec", never: ["machine", "server", "client", "index"] },
  { room: "machine", never: ["server", "client", "index"] },
];

/** What a codec or machine may use of Node: nothing that waits, opens or tells the time. */
const PURE_BUILTINS = ["buffer", "crypto", "util", "string_decoder", "zlib"];

const CLOCK =
  /(?<![\w$.])(?:Date\.now\b|Date\(\s*\)|performance\b|process\.hrtime\b|setTimeout\b|setInterval\b)/g;

interface ImportRule {
  readonly where: string;
  readonly may: readonly string[];
  readonly builtins: "any" | "none" | readonly string[];
  /** Whether packages named in package.json's dependencies may be used. */
  readonly packages: boolean;
  /** The one file that may ask for the time; when left out, all may. */
  readonly clockOnlyIn?: string;
  /** Whether what is imported may be decided when running. */
  readonly opaque?: boolean;
}

interface RoomRule {
  readonly room: string;
  readonly never: readonly string[];
}

export interface SourceFile {
  /** Below src/, with slashes. */
  readonly path: string;
  readonly source: string;
}

/** What breaks the rule, one sentence each with its place; empty when all is well. */
export function brokenRules(files: readonly SourceFile[], dependencies: readonly string[]): string[] {
  const known = new Set(files.map((file) => file.path));
  const broken: string[] = [];
  for (const file of files) {
    const rule = RULES.find((one) => within(file.path, one.where));
    if (rule === undefined) {
      broken.push(`src/${file.path}: no import rule covers this place`);
      continue;
    }
    const say = (line: number, what: string): number => broken.push(`src/${file.path}:${line}: ${what}`);
    for (const found of importsOf(file.source)) {
      const complaint = judge(file.path, found, rule, known, dependencies);
      if (complaint !== undefined) say(found.line, complaint);
    }
    if (rule.clockOnlyIn !== undefined && rule.clockOnlyIn !== file.path) {
      for (const { line, text } of clockUses(file.source))
        say(line, `${text}: only ${rule.clockOnlyIn} knows the time`);
    }
  }
  return [...broken, ...impureRooms(files)];
}

interface Import {
  /** Absent when it is computed. */
  readonly specifier?: string;
  readonly line: number;
  /** `beside`: a file named with new URL(…, import.meta.url), which may be no module at all. */
  readonly way: "import" | "beside";
}

const FROM =
  /(?<![\w$.])(?:import|export)(?:\s+type)?(?:\s+[\w$]+\s*,?)?(?:\s*\*(?:\s*as\s+[\w$]+)?|\s*\{[^}]*\})?\s*from\s*(?=["'])/g;
const BARE = /(?<![\w$.])import\s*(?=["'])/g;
const CALL = /(?<![\w$.])(?:(?:import|require)\s*\(\s*|createRequire\b)/g;
const BESIDE = /(?<![\w$.])new\s+URL\s*\(\s*(?=["'`][^"'`]*["'`]\s*,\s*import\.meta\.url)/g;

/** Every way one module draws in another: import, import type, export from, import(), require(), new URL beside it. */
export function importsOf(source: string): Import[] {
  const { code, strings } = readSource(source);
  const literals = new Map(strings.map((piece) => [piece.at, piece.text]));
  const found: Import[] = [];
  for (const pattern of [FROM, BARE, CALL, BESIDE]) {
    for (const match of code.matchAll(pattern)) {
      const line = lineOf(source, match.index + match[0].trimEnd().length);
      const way = pattern === BESIDE ? "beside" : "import";
      const quote = match.index + match[0].length;
      const text = literals.get(quote + 1);
      const isWhole = text !== undefined && code.charAt(quote) === code.charAt(quote + 1 + text.length);
      found.push(isWhole ? { specifier: text, line, way } : { line, way });
    }
  }
  return found.sort((a, b) => a.line - b.line);
}

function judge(
  path: string,
  { specifier, way }: Import,
  rule: ImportRule,
  known: ReadonlySet<string>,
  dependencies: readonly string[],
): string | undefined {
  if (specifier === undefined) {
    return rule.opaque === true ? undefined : "imports something that only running it would tell";
  }
  if (specifier.startsWith(".")) {
    const target = resolve(path, way === "beside" ? specifier.replace(/\.js$/, ".ts") : specifier);
    if (way === "beside" && !known.has(target)) return undefined;
    if (target.startsWith("..")) return `${specifier} is outside src/`;
    if (!known.has(target)) return `${specifier} is no file; write the whole name with .ts`;
    if (sameArea(path, target, rule.where) || rule.may.some((area) => within(target, area))) return undefined;
    return `${rule.where} must not know ${target}`;
  }
  const builtin = builtinName(specifier);
  if (builtin !== undefined) {
    if (!specifier.startsWith("node:")) return `write node:${specifier}`;
    if (rule.builtins === "any" || (rule.builtins !== "none" && rule.builtins.includes(builtin)))
      return undefined;
    return `${rule.where} must not use ${specifier}`;
  }
  const name = packageName(specifier);
  if (!rule.packages) return `${rule.where} must not use a package: ${name}`;
  return dependencies.includes(name) ? undefined : `${name} is not among the dependencies of package.json`;
}

/** Follows what a pure room draws in from its own mechanism, so that a detour through a third file is seen as well. */
function impureRooms(files: readonly SourceFile[]): string[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const broken = new Set<string>();
  for (const file of files) {
    const rule = RULES.find((one) => within(file.path, one.where));
    const room = ROOMS.find((one) => roomOf(file.path) === one.room);
    if (rule === undefined || room === undefined) continue;
    const reached = new Set([file.path]);
    for (const path of reached) {
      const source = byPath.get(path)?.source ?? "";
      const via = path === file.path ? "" : ` (drawn in by src/${file.path})`;
      const say = (line: number, what: string): unknown =>
        broken.add(`src/${path}:${line}: a ${room.room} ${what}${via}`);
      for (const { line, text } of clockUses(source))
        say(line, `has no clock: ${text}; the time comes with the input`);
      for (const { specifier, line, way } of importsOf(source)) {
        if (specifier === undefined || way === "beside") continue;
        if (!specifier.startsWith(".")) {
          const builtin = builtinName(specifier);
          if (builtin === undefined) say(line, `uses no package: ${specifier}`);
          else if (!PURE_BUILTINS.includes(builtin)) say(line, `is pure: ${specifier}`);
          continue;
        }
        const target = resolve(path, specifier);
        const isNear =
          sameArea(file.path, target, rule.where) ||
          rule.may.some((area) => area.startsWith("mechanisms/") && within(target, area));
        if (within(target, "wire")) continue;
        if (!isNear) say(line, `knows wire and its own folder only: ${target}`);
        else if (room.never.includes(roomOf(target))) say(line, `must not know ${target}`);
        else reached.add(target);
      }
    }
  }
  return [...broken];
}

function clockUses(source: string): { line: number; text: string }[] {
  const { code } = readSource(source);
  return [...code.matchAll(CLOCK)].map((match) => ({ line: lineOf(source, match.index), text: match[0] }));
}

const ROOM_NAMES = ["codec", "machine", "server", "client"];

/** `machine` for machine.ts, v5-machine.ts and all of machine/; the file's own name for what is in none of the rooms. */
function roomOf(path: string): string {
  const [top, , ...names] = path.replace(/\.ts$/, "").split("/");
  if (top !== "mechanisms") return "";
  for (const name of names) {
    const room = ROOM_NAMES.find((one) => name === one || name.endsWith(`-${one}`));
    if (room !== undefined) return room;
  }
  return names.at(-1) ?? "";
}

function sameArea(path: string, target: string, where: string): boolean {
  // A file right in src/, store/ or mechanisms/ is an area by itself; folders are areas as wholes.
  const depth = where.split("/").length;
  const area = (one: string): string => one.split("/").slice(0, depth).join("/");
  return area(target) === area(path);
}

function within(path: string, pattern: string): boolean {
  const names = path.split("/");
  return pattern.split("/").every((wanted, index) => {
    const name = names[index];
    if (wanted.startsWith("*.")) return name?.endsWith(wanted.slice(1)) === true;
    return name !== undefined && (wanted === "*" || wanted === name);
  });
}

function resolve(from: string, specifier: string): string {
  return posix.normalize(posix.join(posix.dirname(from), specifier));
}

function builtinName(specifier: string): string | undefined {
  if (specifier.startsWith("node:")) return specifier.slice("node:".length);
  return builtinModules.includes(specifier) ? specifier : undefined;
}

function packageName(specifier: string): string {
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}
