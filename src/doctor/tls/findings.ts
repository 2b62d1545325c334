import type { LaterTrial, TlsInspection, Way } from "./inspect.ts";

/** What an observation means to whoever runs the server. `bad`: it costs them something, and can be mended. */
export interface Finding {
  readonly weight: "good" | "note" | "bad";
  /** Stable, for programs. */
  readonly code: string;
  readonly text: string;
}

type Seen = Omit<TlsInspection, "findings">;

export function findingsOf(seen: Seen): readonly Finding[] {
  return [
    ...seen.versions.flatMap(({ version, offered }) => versionFindings(version, offered)),
    ...seen.ways.flatMap((way) => wayFindings(way, seen.ways)),
    ...seen.names
      .filter(({ resumed }) => resumed)
      .map(({ version, from, to }) =>
        note(
          "crosses-names",
          `${named(version)}: a session made for ${from} resumes for ${to}. Where one of them asks for client certificates, whoever is let in by the other gets past that (as in CVE-2025-23419): give such names ticket keys of their own.`,
        ),
      ),
    ...seen.later.flatMap((trial) => laterFindings(trial, seen.ways)),
    ...Object.entries(seen.failures).map(([code, count]) =>
      note("connections-failed", `${count} of ${seen.connections} connections failed: ${code}.`),
    ),
  ];
}

function versionFindings(version: string, offered: boolean): Finding[] {
  if (version === "TLSv1" || version === "TLSv1.1")
    return offered
      ? [note("old-version", `${named(version)} is offered, which RFC 8996 has put out of use.`)]
      : [];
  return offered ? [] : [note("version-missing", `${named(version)} is not offered.`)];
}

function wayFindings(way: Way, all: readonly Way[]): Finding[] {
  const what = wayName(way);
  // TLS 1.2 has two ways: what one does is no loss where the other works.
  const other = all.find((one) => one.version === way.version && one.by !== way.by);
  const weight = other !== undefined && resumesAlways(other) ? "note" : "bad";
  if (way.issued === 0) {
    const text =
      way.by === "id"
        ? "no session ID is given, so a client without tickets makes a full handshake each time."
        : "no ticket is given.";
    return [{ weight, code: "none-issued", text: `${what}: ${text}` }];
  }
  return [...resumptionFindings(way, what, weight), ...ticketFindings(way, what)];
}

function resumptionFindings(way: Way, what: string, weight: "note" | "bad"): Finding[] {
  const { again, browsing, keyNames = [] } = way;
  const share = `${browsing.resumed} of ${browsing.of} connections`;
  if (resumesAlways(way)) {
    const more =
      keyNames.length > 1 ? ` ${keyNames.length} keys are in use, and all are known to every server.` : "";
    const once = isOnce(way) ? " Each ticket is taken once." : "";
    return [{ weight: "good", code: "resumes", text: `${what}: ${share} resumed.${more}${once}` }];
  }
  const say = (code: string, text: string): Finding[] => [{ weight, code, text: `${what}: ${text}` }];
  if (again.resumed === again.of && browsing.renewed === 0 && way.version === "TLSv1.3")
    return say(
      "no-renewal",
      `a resumed connection gets no new ticket. A browser uses each ticket once, so it came back with ${share} resumed, and with a full handshake whenever its ${way.perConnection.max} ${way.perConnection.max === 1 ? "ticket was" : "tickets were"} used up.`,
    );
  if (keyNames.length > 1)
    return say(
      "keys-not-shared",
      `tickets carry ${keyNames.length} different keys' names, and ${share} resumed: the servers behind this address do not share their ticket keys. Give all of them the same.`,
    );
  if (browsing.resumed === 0 && again.resumed === 0)
    return say(
      "none-accepted",
      way.by === "id"
        ? "session IDs are given and none is known afterwards: the server keeps no sessions, as nginx without ssl_session_cache."
        : "tickets are given and none is taken back. One key but another session ID context on each connection, a key for each connection, or a clock that is wrong would do that.",
    );
  if (way.by === "id" || way.beginning === "reference")
    return say(
      "cache-not-shared",
      `sessions are kept in the server, and ${share} resumed: several servers stand behind this address, and their caches are not shared; or the cache forgets too soon.`,
    );
  if (keyNames.length === 1)
    return say(
      "context-differs",
      `all tickets carry one key's name, yet only ${share} resumed: the servers share a key but refuse each other's sessions. In Node the default sessionIdContext is made from the command line, and differs when that does.`,
    );
  return say(
    "not-always",
    `only ${share} resumed: several servers with keys of their own stand behind this address, or keys are replaced while they are asked.`,
  );
}

function ticketFindings(way: Way, what: string): Finding[] {
  const found: Finding[] = [];
  const { lifetimeSeconds, earlyDataBytes } = way;
  if (way.version === "TLSv1.3" && lifetimeSeconds !== undefined) {
    // RFC 8446 §4.6.1: zero means that it is to be thrown away at once; seven days are the most.
    if (lifetimeSeconds.min === 0)
      found.push({
        weight: "bad",
        code: "lifetime-zero",
        text: `${what}: tickets come with a lifetime of 0, so clients throw them away.`,
      });
    if (lifetimeSeconds.max > WEEK)
      found.push({
        weight: "bad",
        code: "lifetime-too-long",
        text: `${what}: tickets claim to last longer than the seven days that RFC 8446 allows.`,
      });
  }
  if (way.beginning === "random")
    found.push(
      note(
        "keys-unnamed",
        `${what}: tickets do not begin with a key's name, so how many keys there are cannot be seen.`,
      ),
    );
  if (way.beginning === "reference")
    found.push(
      note(
        "stateful",
        `${what}: a ticket of ${way.sizeBytes.max} bytes cannot hold a session; the server keeps it, and can forget it.`,
      ),
    );
  if (earlyDataBytes !== undefined && earlyDataBytes.max > 0)
    found.push(
      note(
        "early-data",
        `${what}: up to ${earlyDataBytes.max} bytes are taken before the handshake is complete (0-RTT). They can be replayed; what they ask for must bear that.`,
      ),
    );
  return found;
}

function laterFindings(trial: LaterTrial, ways: readonly Way[]): Finding[] {
  const way = ways.find(({ version, by }) => version === trial.version && by === trial.by);
  // What does not resume at once says nothing later.
  if (way === undefined || !resumesAlways(way)) return [];
  const seconds = Math.round(trial.afterMs / 1000);
  const what = wayName(way);
  if (trial.resumed)
    return [
      { weight: "good", code: "still-resumes", text: `${what}: a session still resumed ${seconds} s later.` },
    ];
  const { min = 0 } = way.lifetimeSeconds ?? {};
  if (min > 0 && min < seconds)
    return [
      note("expired", `${what}: a session did not resume ${seconds} s later; it was good for ${min} s.`),
    ];
  return [
    {
      weight: "bad",
      code: "forgotten",
      text: `${what}: a session did not resume ${seconds} s later, before its time. A restart, a reload or a change of keys makes servers forget that do not keep the keys before.`,
    },
  ];
}

/** Every connection that could resume did. */
function resumesAlways({ issued, browsing }: Way): boolean {
  return issued > 0 && browsing.of > 0 && browsing.resumed === browsing.of;
}

/** The same ticket resumed once and never again, while new ones did. */
function isOnce({ again, version }: Way): boolean {
  return version === "TLSv1.3" && again.of > 1 && /^Rf+$/.test(again.trace);
}

export function wayName({ version, by }: Pick<Way, "version" | "by">): string {
  if (version === "TLSv1.3") return named(version);
  return `${named(version)} by ${by === "id" ? "session ID" : "ticket"}`;
}

/** As people write it. */
export function named(version: string): string {
  return version === "TLSv1" ? "TLS 1.0" : version.replace("TLSv", "TLS ");
}

function note(code: string, text: string): Finding {
  return { weight: "note", code, text };
}

const WEEK = 7 * 86_400;
