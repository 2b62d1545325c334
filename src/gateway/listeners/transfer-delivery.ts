import { constants } from "node:fs";
import { chmod, copyFile, link, mkdir, open, rm, stat } from "node:fs/promises";
import { extname, join } from "node:path";
import { HoldfastError } from "../../kernel/index.ts";
import type { FinishedFile } from "../../mechanisms/transfer/index.ts";

/**
 * Makes a finished file appear in a folder under its own name, whole and durable. Delivering it again, as happens after
 * a crash in between, changes nothing. It shares its bytes with the upload where both are on one file system, and is
 * read-only for that reason.
 * @returns where it is.
 */
export async function deliver(file: FinishedFile, folder: string): Promise<string> {
  const { path } = file;
  if (path === undefined)
    throw new HoldfastError("invalid-argument", "This storage does not keep uploads as files to deliver.");
  await mkdir(folder, { recursive: true });
  await chmod(path, 0o440);
  for (const name of namesFor(file)) {
    const target = join(folder, name);
    const state = await place(path, target, join(folder, `.${file.id}.part`));
    if (state === "taken") continue;
    const directory = await open(folder, constants.O_RDONLY);
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
    return target;
  }
  throw new HoldfastError("invalid-argument", "Every name for the finished file is taken.", {
    detail: { folder, id: file.id },
  });
}

/** Its own name; when that is another file's, with a part of the upload's id. Never hidden, never a path. */
function namesFor({ name, id }: FinishedFile): readonly string[] {
  const shown = (name ?? id).replace(/^\.+/, "_");
  const ending = extname(shown).slice(0, 20);
  const stem = shown.slice(0, shown.length - ending.length);
  const tag = `-${id.slice(0, 10)}`;
  let short = stem;
  while (Buffer.byteLength(short) > 255 - ending.length * 4 - tag.length) short = short.slice(0, -1);
  return [shown, `${short}${tag}${ending}`];
}

async function place(path: string, target: string, part: string): Promise<"placed" | "taken"> {
  try {
    await link(path, target);
    return "placed";
  } catch (error) {
    const code = codeOf(error);
    if (code === "EEXIST") return (await same(path, target)) ? "placed" : "taken";
    if (code !== "EXDEV") throw error;
  }
  // On another file system: copied aside, then given its name in one step.
  try {
    await copyFile(path, part, constants.COPYFILE_FICLONE);
    const copy = await open(part, "r");
    try {
      await copy.sync();
    } finally {
      await copy.close();
    }
    await link(part, target);
    return "placed";
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
    return "taken";
  } finally {
    await rm(part, { force: true });
  }
}

async function same(path: string, target: string): Promise<boolean> {
  const [a, b] = await Promise.all([stat(path), stat(target)]);
  return a.ino === b.ino && a.dev === b.dev;
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
