import { readFileSync, readdirSync } from "node:fs";
import { posix } from "node:path";

/** A text file of the repository; its path is relative to the root, with slashes. */
export interface TextFile {
  readonly path: string;
  readonly source: string;
}

/** Every TypeScript file below `folder`, by path. */
export function sourcesIn(folder: string): TextFile[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => posix.join(folder, name.replaceAll("\\", "/")))
    .sort()
    .map((path) => ({ path, source: readFileSync(path, "utf8") }));
}

/** What the RFC matrix is drawn from: the tests of the house itself name rules only as samples. */
export function sourcesOfTheMatrix(): TextFile[] {
  return [...sourcesIn("src"), ...sourcesIn("test").filter((file) => !file.path.startsWith("test/house/"))];
}
