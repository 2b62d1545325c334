import { lineOf, readSource } from "../source-text.ts";
import type { TextFile } from "./sources.ts";

/** One rule of a standard, with where the code follows it and which tests hold it to that. */
interface MatrixRow {
  /** `RFC 8881 §18.46.3`, `ASVS 7.2.4`. */
  readonly rule: string;
  /** Paths of source files whose comments carry the tag. */
  readonly implemented: readonly string[];
  readonly tests: readonly TestName[];
}

interface TestName {
  readonly path: string;
  readonly line: number;
  readonly name: string;
}

/** Tags in comments of src/ say where a rule is followed; tags in texts of test/ and of the exported suites are tests. */
export function rfcMatrix(files: readonly TextFile[]): MatrixRow[] {
  const rows = new Map<string, { implemented: Set<string>; tests: TestName[] }>();
  const rowOf = (rule: string): { implemented: Set<string>; tests: TestName[] } => {
    const row = rows.get(rule) ?? { implemented: new Set(), tests: [] };
    rows.set(rule, row);
    return row;
  };
  for (const { path, source } of files) {
    const { comments, strings } = readSource(source);
    if (path.startsWith("src/")) {
      for (const { text } of comments) for (const rule of tagsIn(text)) rowOf(rule).implemented.add(path);
    }
    if (path.startsWith("test/") || path.startsWith("src/testing/")) {
      for (const { text, at } of strings) {
        for (const rule of tagsIn(text))
          rowOf(rule).tests.push({ path, line: lineOf(source, at), name: text });
      }
    }
  }
  return [...rows]
    .sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }))
    .map(([rule, { implemented, tests }]) => ({ rule, implemented: [...implemented].sort(), tests }));
}

/** The rules a text names. Lists and ranges count one by one: `RFC 6455 §5.5.1, §7.1.5`, `ASVS 7.1.1–7.1.3`. */
export function tagsIn(text: string): string[] {
  // A comment may break its line within a tag.
  const flat = text.replace(/\s*\n\s*(?:\*(?!\/)|\/\/)?\s*/g, " ");
  const found = new Set<string>();
  for (const [, rfc, sections] of flat.matchAll(RFC)) {
    for (const [, section] of (sections ?? "").matchAll(/§§?\s?([\w.]*\w)/g))
      found.add(`RFC ${rfc} §${section}`);
  }
  for (const [, items] of flat.matchAll(ASVS)) {
    for (const item of (items ?? "").split(/,\s*|\s+and\s+/))
      for (const one of asvsRange(item)) found.add(`ASVS ${one}`);
  }
  return [...found];
}

export function matrixPage(rows: readonly MatrixRow[]): string {
  const lines = [
    "# Rules, and where they are kept",
    "",
    "Written by `npm run docs` from the tags in the source's comments and in the names of tests; do not edit.",
    "A rule without a test is followed but not held to; a rule without a place is tested from outside only.",
    "",
    "| rule | followed in | held to by |",
    "|---|---|---|",
    ...rows.map(
      ({ rule, implemented, tests }) =>
        `| ${rule} | ${cell(implemented.map((path) => link(path, path.replace(/^src\//, ""))))} | ${cell(tests.map(testLink))} |`,
    ),
    "",
  ];
  return lines.join("\n");
}

const RFC = /RFC[ -]?(\d{3,5})((?:,? (?:and )?§§?\s?[\w.]*\w)+)/g;
const ASVS = /ASVS (?:v?5\.0(?:\.0)? )?(\d+\.\d+\.\d+(?:(?:, | and |[–-])\d+\.\d+\.\d+)*)/g;

function asvsRange(item: string): string[] {
  const [from, to] = item.split(/[–-]/);
  if (from === undefined || to === undefined) return [item];
  const stem = from.slice(0, from.lastIndexOf(".") + 1);
  if (!to.startsWith(stem)) return [from, to];
  const first = Number(from.slice(stem.length));
  const last = Number(to.slice(stem.length));
  return Array.from({ length: Math.max(0, last - first) + 1 }, (_, index) => `${stem}${first + index}`);
}

function testLink({ path, line, name }: TestName): string {
  return link(`${path}#L${line}`, name);
}

function link(target: string, text: string): string {
  return `[${text.replace(/\s+/g, " ").replace(/[\\|[\]`<>]/g, "\\$&")}](../${target})`;
}

function cell(entries: readonly string[]): string {
  return entries.length === 0 ? "–" : entries.join("<br>");
}
