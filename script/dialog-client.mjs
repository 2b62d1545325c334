// Builds the browser's dialog client from its sources into one file to load, and three that are loaded when they are asked
// for: the rules for tokens and sync points, the key for signed resumes, and the way around where there are no WebSockets. An argument names another folder than dist.
import { build } from "esbuild";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
const to = process.argv[2] ?? "dist/mechanisms/dialog/browser";
const from = "src/mechanisms/dialog";

/**
 * Properties that nobody outside sees, made short. What users, the browser or a string in the code names (the types of frames are
 * such) is not here.
 */
const INTERNAL =
  `absorb accept content fields head link request state acknowledge agreement answerPurge applied begin block byte changed checkpointBytes
  checkpointWindow closed committed confirmer count defer discard drained emptied empty epoch exchange expected
  explain fail farewell finished fly grant hasOutput heard hold holds inbox isHeld isPurging kept linkChanged linkDown
  linkUp nonce objection oldHandle oldId online outbox output pingMs pinged placement please position purgeOf purged
  purgedBelow raw reached ready receive refusal resumeAt retryMs rules secret sent settle settleInbox settled
  signature sinceCheckpoint takeEvents tick tokens tooLarge units urgentCame urgentOut varint version voids waiting wanted
  withinMs withinWindow writable writeGap`.split(/\s+/);

const mangleCache = {};
for (const [entry, name] of [
  ["client-browser.ts", "client.js"],
  ["machine/rules.ts", "rules.js"],
  ["proof-key.ts", "proof-key.js"],
  ["posted-browser.ts", "posted-browser.js"],
]) {
  const { mangleCache: now } = await build({
    entryPoints: [join(from, entry)],
    outfile: join(to, name),
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    // Without the comment that names it, which every page would load.
    sourcemap: "external",
    sourcesContent: true,
    logLevel: "warning",
    mangleProps: new RegExp(`^(?:${INTERNAL.join("|")})$`),
    mangleCache,
    plugins: [
      { name: "what is loaded later", setup: (built) => built.onResolve({ filter: /\.ts$/ }, later) },
    ],
  });
  Object.assign(mangleCache, now);
}
const unknown = INTERNAL.filter((name) => !(name in mangleCache));
if (unknown.length > 0) throw new Error(`no longer in the client: ${unknown.join(" ")}`);

function later({ kind, path }) {
  return kind === "dynamic-import" ? { path: `./${basename(path, ".ts")}.js`, external: true } : undefined;
}
