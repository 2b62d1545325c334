// Exits 0 when node_modules holds what package-lock.json asks for, by npm's own note of what it installed.
// Contents are compared, not dates: a checkout gives old files new dates.
import { readFileSync } from "node:fs";

const wanted = packagesIn("package-lock.json");
const present = packagesIn("node_modules/.package-lock.json");
const differs = Object.entries(wanted ?? {}).some(
  ([path, entry]) => path !== "" && entry.optional !== true && present?.[path]?.version !== entry.version,
);
process.exit(wanted === undefined || present === undefined || differs ? 1 : 0);

function packagesIn(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8")).packages;
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}
