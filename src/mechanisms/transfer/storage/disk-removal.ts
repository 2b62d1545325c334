import { open, readFile, rm, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { exists, gonePath, loadUpload, logPath } from "./disk-upload.ts";
import { errorCode, storageFault } from "./fault.ts";
import type { SweepCount, UploadId } from "./storage.ts";
import type { Syncer } from "./syncer.ts";

/** First phase: a note beside the upload's files says that it is gone. The files stay until the second. */
export async function removeUpload(
  root: string,
  syncer: Syncer,
  id: UploadId,
  at: number,
  unlessComplete: boolean,
): Promise<boolean> {
  if (!exists(logPath(root, id, 1))) return false;
  if (unlessComplete && (await isComplete(root, id, false))) return false;
  try {
    const note = await open(gonePath(root, id), "wx", 0o600);
    try {
      await note.write(JSON.stringify({ at }));
      await syncer.data(note);
    } finally {
      await note.close();
    }
    // A writer looks for this note after it has written its last record. So: either it has seen the note and failed, or
    // its record is there by now.
    if (unlessComplete && (await isComplete(root, id, true))) {
      await unlink(gonePath(root, id));
      return false;
    }
    await syncer.directory();
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    throw storageFault(error, "remove an upload");
  }
}

/** Second phase. Several processes may be at it at once. */
export async function sweepRemoved(
  root: string,
  syncer: Syncer,
  names: readonly string[],
  limits: { readonly before: number; readonly forget: number },
): Promise<SweepCount> {
  const gone = new Map<string, number>();
  for (const name of names) {
    if (!name.endsWith(".gone")) continue;
    const at = await removedAt(join(root, name));
    if (at !== undefined) gone.set(name.slice(0, -5), at);
  }
  const freed = new Set<string>();
  for (const name of names) {
    const id = name.slice(0, name.indexOf("."));
    const at = gone.get(id);
    if (at === undefined || at >= limits.before || name.endsWith(".gone")) continue;
    await rm(join(root, name), { force: true });
    freed.add(id);
  }
  let forgotten = 0;
  for (const [id, at] of gone) {
    if (at >= limits.forget) continue;
    // The bytes are gone for good before the note that says so is.
    await syncer.directory();
    await rm(join(root, `${id}.gone`), { force: true });
    forgotten += 1;
  }
  return { freed: freed.size, forgotten };
}

async function isComplete(root: string, id: UploadId, evenGone: boolean): Promise<boolean> {
  const upload = await loadUpload(root, id, evenGone);
  return upload.state === "whole" && upload.last.complete;
}

/** `undefined`: another sweep has taken the note meanwhile. */
async function removedAt(path: string): Promise<number | undefined> {
  try {
    // A note cut short by a crash still says "removed"; then the file's own time stands in for the one inside.
    const match = /"at":(\d+)/.exec(await readFile(path, "utf8"));
    return match?.[1] === undefined ? (await stat(path)).mtimeMs : Number(match[1]);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}
