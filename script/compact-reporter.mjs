// A reporter for logs: a line for each test file, each failure in full at once, what a failed file wrote, the names of
// what was skipped, and the counts as the TAP reporter closes with them.
import { writeFileSync } from "node:fs";
import { relative } from "node:path";
import { inspect } from "node:util";

const OUTPUT_LINES = 60;
const COUNT = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) [\d.]+$/;

export default async function* compact(events) {
  const files = new Map();
  const counts = [];
  /** What was run and failed; a test that fails names where it was written instead. */
  const failed = [];
  const at = (file) => {
    const known = files.get(file) ?? { failed: false, output: "", skipped: [] };
    files.set(file, known);
    return known;
  };

  for await (const { type, data } of events) {
    const isFile = data.file !== undefined && data.name === data.file;
    if (type === "test:stdout" || type === "test:stderr") {
      const file = at(data.file);
      file.output = lastLines(file.output + data.message, OUTPUT_LINES);
    } else if (type === "test:diagnostic" && data.file === undefined) {
      if (COUNT.test(data.message)) counts.push(data.message);
      else yield `  ${data.message}\n`;
    } else if (type === "test:diagnostic") {
      const file = at(data.file);
      file.output = lastLines(`${file.output}${data.message}\n`, OUTPUT_LINES);
    } else if (type === "test:complete" && isFile) {
      const seconds = (data.details.duration_ms / 1000).toFixed(1);
      const verdict = data.details.passed === true ? "ok    " : "FAILED";
      if (data.details.passed !== true) failed.push(relative(process.cwd(), data.file));
      yield `${verdict} ${name(data.file)}  ${seconds} s\n`;
    } else if (type === "test:complete" && data.details.type !== "suite") {
      if (data.skip !== undefined) at(data.file).skipped.push(skipLine(data));
    } else if (type === "test:fail") {
      const file = at(data.file);
      file.failed = true;
      // A parent that failed through its child says nothing new, nor does a file that failed through a test.
      const { error } = data.details;
      if (error?.failureType === "subtestsFailed") continue;
      const title = isFile ? "the file itself, not one of its tests" : data.name;
      yield `FAILED ${place(data)}: ${title}\n${indent(explain(error))}\n`;
    }
  }

  for (const [file, { failed, output }] of files) {
    if (failed && output.trim() !== "") yield `\nlast output of ${name(file)}\n${indent(output.trimEnd())}\n`;
  }
  const skipped = [...files].flatMap(([file, one]) => one.skipped.map((line) => `${name(file)}: ${line}`));
  if (skipped.length > 0) yield `\nskipped\n${indent(skipped.join("\n"))}\n`;
  yield `\n${counts.map((line) => `# ${line}\n`).join("")}`;
  // Last: who reads it may end this process.
  const list = process.env.HOLDFAST_FAILED_FILES;
  if (list !== undefined) writeFileSync(list, failed.join("\n"));
}

function name(file) {
  return relative(process.cwd(), file).replace(/^build\/test\//, "");
}

function place(data) {
  return data.line === undefined ? name(data.file) : `${name(data.file)}:${data.line}`;
}

function skipLine(data) {
  return typeof data.skip === "string" && data.skip !== "" ? `${data.name} (${data.skip})` : data.name;
}

/** What a test threw, without the runner's wrapping and frames; for a whole file, how its process ended. */
function explain(error) {
  if (error?.exitCode !== undefined)
    return `ended with code ${error.exitCode}, signal ${error.signal ?? "none"}`;
  const thrown = error?.code === "ERR_TEST_FAILURE" ? (error.cause ?? error) : error;
  const text = typeof thrown === "string" ? thrown : inspect(thrown, { depth: 6 });
  return text.replace(/\n +at [^\n]*node:internal\/[^\n]*/g, "");
}

function indent(text) {
  return text.replace(/^/gm, "    ");
}

function lastLines(text, count) {
  const lines = text.split("\n");
  return lines.length > count + 1 ? lines.slice(-count - 1).join("\n") : text;
}
