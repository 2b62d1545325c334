import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { folder, freePort, run, serverProcess } from "./process.ts";

export interface SshServer {
  readonly port: number;
  /** Arguments of ssh with which it is let in, without the host and port. */
  readonly options: readonly string[];
  readonly host: string;
}

/** An OpenSSH server of our own: own keys, own configuration, a free port, for the user the test runs as. */
export async function sshServer(t: TestContext): Promise<SshServer> {
  const home = folder(t);
  const port = await freePort();
  const [hostKey, userKey, keys] = [join(home, "host"), join(home, "user"), join(home, "keys")];
  for (const key of [hostKey, userKey]) await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key]);
  copyFileSync(`${userKey}.pub`, keys);
  chmodSync(keys, 0o600);
  const config = [
    `Port ${port}`,
    "ListenAddress 127.0.0.1",
    `HostKey ${hostKey}`,
    `AuthorizedKeysFile ${keys}`,
    `PidFile ${join(home, "pid")}`,
    "StrictModes no",
    "UsePAM no",
    "PermitRootLogin yes",
    "PasswordAuthentication no",
  ];
  writeFileSync(join(home, "sshd_config"), `${config.join("\n")}\n`);
  // sshd insists on this folder when it is root's; the package makes it when the system's own server starts.
  if (process.getuid?.() === 0) mkdirSync("/run/sshd", { recursive: true });
  await serverProcess(t, "/usr/sbin/sshd", ["-D", "-e", "-f", join(home, "sshd_config")], port);
  const options = [
    "-F",
    "/dev/null",
    "-i",
    userKey,
    "-o",
    "BatchMode=yes",
    "-o",
    "StrictHostKeyChecking=no",
    "-o",
    "UserKnownHostsFile=/dev/null",
    "-o",
    "LogLevel=ERROR",
    "-o",
    "IdentitiesOnly=yes",
  ];
  return { port, options, host: `${userInfo().username}@127.0.0.1` };
}
