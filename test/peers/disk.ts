import { spawnSync } from "node:child_process";

/** EXT4_IOC_SHUTDOWN with NOLOGFLUSH: the file system stops where it is, its journal unwritten, as when power fails. */
export function shutdownFileSystem(place: string): void {
  command("perl", [
    "-e",
    'open(F, "<", $ARGV[0]) or die $!; my $how = pack("L", 2); ioctl(F, 0x8004587D, $how) or die $!',
    place,
  ]);
}

export function command(name: string, args: readonly string[]): void {
  const done = spawnSync(name, args, { encoding: "utf8" });
  if (done.status !== 0) throw new Error(`${name} ${args.join(" ")}: ${done.stderr || String(done.error)}`);
}

export function mountSkip(): string | false {
  if (process.getuid?.() !== 0 || process.platform !== "linux")
    return "needs root on Linux, to mount a small file system";
  return spawnSync("unshare", ["--mount", "mount", "-t", "tmpfs", "holdfast-test", "/mnt"]).status === 0
    ? false
    : "this machine allows no mounts";
}

export function powerLossSkip(): string | false {
  const mounts = mountSkip();
  if (mounts !== false) return mounts;
  for (const tool of ["mkfs.ext4", "losetup", "perl"]) {
    if (spawnSync("sh", ["-c", `command -v ${tool}`]).status !== 0) return `needs ${tool}`;
  }
  return spawnSync("losetup", ["-f"]).status === 0 ? false : "this machine has no loop devices";
}
