import type { Config } from "./config.ts";

/** What a schema cannot say: members that contradict each other. */
export function rulesBroken(config: Config): { path: (string | number)[]; message: string }[] {
  const broken: { path: (string | number)[]; message: string }[] = [];
  const names = new Set<string>();
  const taken = new Map<string, string>();
  const admin = { host: config.admin?.host ?? LOOPBACK, port: config.admin?.port ?? ADMIN_PORT };
  if (admin.port !== 0) taken.set(`${admin.host}:${admin.port}`, "the admin server");
  for (const [i, listener] of (config.listeners ?? []).entries()) {
    const name = listener.name ?? listener.mechanism;
    if (names.has(name))
      broken.push({
        path: ["listeners", i, listener.name === undefined ? "mechanism" : "name"],
        message: `another listener is called "${name}" already; give each a "name" of its own`,
      });
    names.add(name);
    if (listener.port === undefined || listener.port === 0) continue;
    const at = `${listener.host ?? LOOPBACK}:${listener.port}`;
    const other = taken.get(at);
    if (other !== undefined)
      broken.push({ path: ["listeners", i, "port"], message: `${at} is taken by ${other}` });
    taken.set(at, `listener "${name}"`);
  }
  const { host, tls, withoutTls } = config.admin ?? {};
  if (host !== undefined && !isLoopback(host) && tls === undefined && withoutTls === undefined) {
    broken.push({
      path: ["admin", "host"],
      message: `the admin server on ${host} can be reached by others: give "tls", or say with "withoutTls" why it may do without`,
    });
  }
  return broken;
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host === "[::1]" || /^127(\.\d{1,3}){3}$/.test(host);
}

export const LOOPBACK = "127.0.0.1";
export const ADMIN_PORT = 7070;
