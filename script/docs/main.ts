// npm run docs: writes the pages of docs/ that are drawn from the code.
import { writeFileSync } from "node:fs";
import { lifecyclePage } from "./lifecycle-page.ts";
import { matrixPage, rfcMatrix } from "./rfc-matrix.ts";
import { sourcesOfTheMatrix } from "./sources.ts";

const pages: Readonly<Record<string, string>> = {
  "docs/lifecycle.md": lifecyclePage(),
  "docs/rfc-matrix.md": matrixPage(rfcMatrix(sourcesOfTheMatrix())),
};
for (const [path, text] of Object.entries(pages)) {
  writeFileSync(path, text);
  console.log(`${path}: ${text.split("\n").length} lines`);
}
