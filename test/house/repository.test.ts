import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import { homedir } from "node:os";
import test, { describe } from "node:test";
import { sourcesIn, type TextFile } from "../../script/docs/sources.ts";
import {
  deadCommands,
  deadLinks,
  downloadAddresses,
  exportsAstray,
  leftOut,
  loosePins,
  machinePaths,
  tooLong,
  type Manifest,
} from "./repository.ts";

/** Files that may be longer, with their limit; each needs a reason here. */
const LONGER: Readonly<Record<string, number>> = {};

/** What package.json names ahead of its coming; an entry goes when the thing comes. */
const AWAITED: readonly string[] = [];

const manifest = JSON.parse(readFileSync("package.json", "utf8")) as Manifest;

describe("the repository", () => {
  test("has no source file over 420 lines", () => {
    assert.deepEqual(tooLong(sourcesIn("src"), 420, LONGER), []);
    for (const path of Object.keys(LONGER))
      assert.ok(existsSync(path), `${path} is gone; take it off the list`);
  });

  test("names no path of somebody's machine", () => {
    const files = ownFiles();
    assert.ok(files.length > 20, "the repository's files were not found");
    assert.deepEqual(machinePaths(files, process.cwd(), homedir()), []);
  });

  test("names no place to download packages from", () => {
    assert.deepEqual(
      downloadAddresses(ownFiles().filter(({ path }) => /^[^/]*\.json$|\.npmrc$|\.md$/.test(path))),
      [],
    );
  });

  test("has no dead link in its pages", () => {
    assert.deepEqual(deadLinks(pages(), existsSync), []);
  });

  test("has every command its pages tell people to type", () => {
    assert.deepEqual(deadCommands(pages(), manifest, existsSync), []);
  });

  test("exports what exists, and all of it", (t) => {
    const astray = exportsAstray(manifest, existsSync, places());
    for (const awaited of AWAITED) {
      if (!astray.some((line) => line.startsWith(awaited)))
        t.diagnostic(`it has come, so take it off: ${awaited}`);
    }
    assert.deepEqual(
      astray.filter((line) => !AWAITED.some((awaited) => line.startsWith(awaited))),
      [],
    );
  });

  test("pins every version exactly, and the lock file agrees", () => {
    assert.deepEqual(loosePins(manifest), []);
    const lock = JSON.parse(readFileSync("package-lock.json", "utf8")) as { packages: { "": Manifest } };
    assert.deepEqual(lock.packages[""].dependencies, manifest.dependencies);
    assert.deepEqual(lock.packages[""].devDependencies, manifest.devDependencies);
  });

  test("leaves no test out without saying why", () => {
    assert.deepEqual(leftOut(sourcesIn("test")), []);
  });

  test("has scripts that can be run, and that say how", () => {
    for (const path of ["script/server", "script/test", "script/install", ".ci/run"]) {
      assert.ok((statSync(path).mode & 0o111) !== 0, `${path} is not executable`);
      const checked = spawnSync("bash", ["-n", path], { encoding: "utf8" });
      assert.equal(checked.status, 0, checked.stderr);
    }
    for (const path of ["script/server", "script/test"]) {
      const { status, stdout } = spawnSync(path, ["--help"], { encoding: "utf8" });
      assert.equal(status, 0);
      assert.match(stdout, new RegExp(`^Usage: ${path}`));
    }
  });
});

describe("the checks find", () => {
  test("a long file, unless it is excepted", () => {
    const files = [
      file("src/a.ts", "x\n".repeat(421)),
      file("src/b.ts", "x\n".repeat(420)),
      file("src/c.ts", "x\n".repeat(500)),
    ];
    assert.deepEqual(tooLong(files, 420, { "src/c.ts": 500 }), ["src/a.ts has 421 lines, more than 420"]);
  });

  test("paths of a machine, and not those every machine has", () => {
    const home = "/home";
    const paths = (source: string): string[] =>
      machinePaths([file("a.md", source)], "/place/of/mine", "/root");
    assert.deepEqual(paths("see\n`/place/elsewhere/x`"), ["a.md:2: /place/"]);
    assert.deepEqual(paths(`run("${home}/ann/bin/x")`), [`a.md:1: ${home}/ann/`]);
    assert.deepEqual(paths(`in ${"/root"}/.npmrc`), [`a.md:1: ${"/root"}/`]);
    assert.deepEqual(paths("/usr/bin/chromium /tmp/x /etc/debian_version a/place/b https://h/root/"), []);
    assert.deepEqual(machinePaths([file("a.md", "/tmp/x/y and /tmp/z")], "/tmp/x", "/"), ["a.md:1: /tmp/x"]);
  });

  test("places to download from", () => {
    const found = downloadAddresses([
      file("package-lock.json", `{\n"resolved": "https://host/a.tgz",\n"funding": "https://fund.example/"}`),
      file(".npmrc", "fund=false\nregistry = https://host/"),
    ]);
    assert.deepEqual(found, [
      `package-lock.json:2: "resolved":`,
      `package-lock.json:2: .tgz"`,
      ".npmrc:2: registry =",
    ]);
  });

  test("dead links and headings", () => {
    const there = ["docs/a.md", "docs/b.md", "README.md"];
    const found = deadLinks(
      [
        file(
          "docs/a.md",
          "# A\n[b](b.md) [c](c.md) [up](../README.md#top) [self](#a) [out](https://x.example/y)\n",
        ),
        file("docs/b.md", "```\n[code](nowhere.md)\n```\n![p](pic.png) [deep](a.md#the-end)"),
        file("README.md", '# Top\n<img src="docs/none.png">'),
      ],
      (path) => there.includes(path),
    );
    assert.deepEqual(found, [
      "docs/a.md:2: c.md does not exist",
      "docs/b.md:4: pic.png does not exist",
      "docs/b.md:4: no heading #the-end in docs/a.md",
      "README.md:2: docs/none.png does not exist",
    ]);
  });

  test("commands that are not there", () => {
    const page = file(
      "README.md",
      "npm run lint\nnpm run bench -- web\nnpm run bench -- none\nnpm run fly\nscript/server, script/none, src/script/x",
    );
    const there = ["bench/web.ts", "script/server"];
    const found = deadCommands([page], { exports: {}, scripts: { lint: "x", bench: "x" } }, (path) =>
      there.includes(path),
    );
    assert.deepEqual(found, [
      "README.md:3: there is no bench/none.ts",
      "README.md:4: there is no npm run fly",
      "README.md:5: there is no script/none",
    ]);
  });

  test("exports that lead nowhere, and places nobody can reach", () => {
    const astray = exportsAstray(
      {
        scripts: {},
        bin: { x: "./dist/cli/main.js" },
        exports: {
          "./package.json": "./package.json",
          "./a": { types: "./dist/a/index.d.ts", default: "./dist/a/index.js" },
          "./b": { types: "./dist/a/index.d.ts", default: "./dist/b/index.js" },
        },
      },
      (path) => path === "src/a/index.ts",
      ["./a", "./c"],
    );
    assert.deepEqual(astray, [
      "exports ./b leads to src/b/index.ts, which does not exist",
      "exports ./b names types ./dist/a/index.d.ts beside ./dist/b/index.js",
      "bin x leads to src/cli/main.ts, which does not exist",
      "./c is not exported",
    ]);
  });

  test("versions that are not exact", () => {
    const found = loosePins({
      exports: {},
      scripts: {},
      dependencies: { a: "1.2.3", b: "^1.2.3", c: "1.2.3-rc.1" },
      devDependencies: { d: "latest", e: "1.x" },
    });
    assert.deepEqual(found, [
      "b is not pinned exactly: ^1.2.3",
      "d is not pinned exactly: latest",
      "e is not pinned exactly: 1.x",
    ]);
  });

  test("tests that are left out, and not those that say why", () => {
    const bad = [
      "test.only('x', f);",
      "describe.skip('x', f);",
      "it.todo('x');",
      "test('x', { only: true }, f);",
      "test('x', { skip: true }, f);",
      "t.skip();",
    ];
    for (const source of bad) assert.equal(leftOut([file("a.ts", source)]).length, 1, source);
    const good = [
      "t.skip('no redis-server');",
      "test('x', { skip: 'no chromium' }, f);",
      "test('x', { skip: redis === undefined && 'none' }, f);",
      "// test.only",
      "const text = 'test.only(';",
      "reader.skip(4); list.only(x);",
    ];
    for (const source of good) assert.deepEqual(leftOut([file("a.ts", source)]), [], source);
  });
});

function file(path: string, source: string): TextFile {
  return { path, source };
}

/** What the repository holds: git's list, or all files of an unpacked copy. */
function ownFiles(): TextFile[] {
  const listed = spawnSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    encoding: "utf8",
  });
  const paths = listed.status === 0 ? listed.stdout.split("\0") : unpacked(".");
  return paths
    .filter((path) => path !== "" && existsSync(path) && statSync(path).isFile())
    .map((path) => ({ path, source: readFileSync(path, "utf8") }))
    .filter(({ source }) => !source.includes("\0"));
}

const NOT_OURS = ["node_modules", "dist", "build", "data", "artifacts", "coverage", ".git"];

function unpacked(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (NOT_OURS.includes(entry.name)) return [];
    const path = folder === "." ? entry.name : `${folder}/${entry.name}`;
    return entry.isDirectory() ? unpacked(path) : [path];
  });
}

function pages(): TextFile[] {
  return ownFiles().filter(({ path }) => path.endsWith(".md"));
}

/** The names under which stores, mechanisms and conformance suites with an index.ts are meant to be imported. */
function places(): string[] {
  return sourcesIn("src").flatMap(({ path }) => {
    const [, group, name] = /^src\/(store|mechanisms|testing)\/([^/]+)\/index\.ts$/.exec(path) ?? [];
    if (group === undefined || name === undefined) return [];
    return [group === "mechanisms" ? `./${name}` : `./${group}/${name}`];
  });
}
