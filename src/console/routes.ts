import type { IncomingMessage } from "node:http";
import type { Handle } from "../kernel/index.ts";
import type { Me, NodeRow, SessionDetail, SessionPage, SessionRow, Summary } from "./contract.ts";
import { ProblemError, readJson } from "./http.ts";
import type { LiveView } from "./live-view.ts";
import { handle, optionalInstant, parseQuery, parseSelector, text } from "./parse.ts";
import type { ConsoleParts } from "./parts.ts";
import type { Tally } from "./tally.ts";
import { lockRow, nodeRow, revocationAnswer, sessionRow, timelineEntry } from "./rows.ts";
import type { Role, SignIn, Who } from "./sign-in.ts";

export interface Call {
  readonly request: IncomingMessage;
  readonly url: URL;
  /** What stands in the path for each `{name}`. */
  readonly params: Readonly<Record<string, string>>;
  readonly me: Who;
}

export interface Answer {
  readonly status: number;
  readonly body: object;
}

export interface Route {
  readonly method: "GET" | "POST" | "DELETE";
  /** With `{name}` for a path segment, as in OpenAPI. */
  readonly path: string;
  /** Who may call it: an operator may do all that a viewer may. */
  readonly role: Role;
  readonly run: (call: Call) => Promise<Answer> | Answer;
}

export interface RouteParts extends ConsoleParts {
  readonly view: LiveView;
  readonly tally: Tally;
  readonly signIn: SignIn;
}

/** The admin API, route by route. `GET /api/feed` is apart: it does not end. */
export function routes(parts: RouteParts): readonly Route[] {
  const { kernel, view, revocations, tally, signIn } = parts;
  return [
    {
      method: "GET",
      path: "/api/me",
      role: "viewer",
      run: ({ me }) => ok<Me>({ ...me, node: kernel.node, version: parts.version }),
    },
    {
      method: "GET",
      path: "/api/sessions",
      role: "viewer",
      run: async ({ url }) => ok(await listed(parts, url)),
    },
    {
      method: "GET",
      path: "/api/sessions/{handle}",
      role: "viewer",
      run: async ({ params }) => ok(await detail(parts, handle("handle", params["handle"]))),
    },
    {
      method: "GET",
      path: "/api/sessions/{handle}/timeline",
      role: "viewer",
      run: async ({ params, url }) => {
        const after = url.searchParams.get("after");
        const options = { limit: 1000, ...(after !== null && { after }) };
        const entries = await kernel.store.timeline(handle("handle", params["handle"]), options);
        return ok({ timeline: entries.map(timelineEntry) });
      },
    },
    {
      method: "POST",
      path: "/api/preview",
      role: "viewer",
      run: async ({ request }) => {
        const { count, byMechanism, sample } = await kernel.preview(parseSelector(await readJson(request)));
        return ok({ count, byMechanism, sample: sample.map(sessionRow) });
      },
    },
    {
      method: "POST",
      path: "/api/revocations",
      role: "operator",
      run: async ({ request, me }) => {
        const body = await readJson(request);
        const reason = text("reason", body["reason"]);
        const record = await revocations.revoke(parseSelector(body["selector"]), { reason, by: me.name });
        return { status: 201, body: revocationAnswer(record) };
      },
    },
    {
      method: "GET",
      path: "/api/revocations",
      role: "viewer",
      run: () => ok({ revocations: revocations.list().map(revocationAnswer) }),
    },
    {
      method: "GET",
      path: "/api/revocations/{id}",
      role: "viewer",
      run: ({ params }) => {
        const record = revocations.get(params["id"] ?? "");
        if (record === undefined) throw notFound("revocation, or it is too long ago");
        return ok(revocationAnswer(record));
      },
    },
    {
      method: "GET",
      path: "/api/locks",
      role: "viewer",
      run: async () => ok({ locks: (await kernel.locks()).map(lockRow) }),
    },
    {
      method: "POST",
      path: "/api/locks",
      role: "operator",
      run: async ({ request, me }) => {
        const body = await readJson(request);
        const until = optionalInstant("until", body["until"]);
        const { barrier, revocation } = await revocations.lock({
          selector: parseSelector(body["selector"]),
          reason: text("reason", body["reason"]),
          by: me.name,
          ...(until !== undefined && { until }),
        });
        return { status: 201, body: { lock: lockRow(barrier), revocation: revocationAnswer(revocation) } };
      },
    },
    {
      method: "DELETE",
      path: "/api/locks/{id}",
      role: "operator",
      run: async ({ params, me }) => {
        if (!(await kernel.unlock(params["id"] ?? "", me.name))) throw notFound("lock");
        return ok({ lifted: params["id"] ?? "" });
      },
    },
    {
      method: "GET",
      path: "/api/nodes",
      role: "viewer",
      run: async () => {
        const now = kernel.clock.now();
        return ok<{ nodes: NodeRow[] }>({
          nodes: (await kernel.store.nodes()).map((lease) => nodeRow(lease, now)),
        });
      },
    },
    {
      method: "GET",
      path: "/api/summary",
      role: "viewer",
      run: async () => {
        await view.ready();
        const tls = parts.tls();
        return ok<Summary>({
          at: kernel.clock.now(),
          node: kernel.node,
          store: { kind: kernel.store.kind, stats: await kernel.store.stats() },
          feedLive: kernel.feedLive,
          sessions: view.counts(),
          ...tally.figures(),
          refusals: parts.refusals(),
          listeners: parts
            .listeners()
            .map(({ name, mechanism, address, open }) => ({ name, mechanism, address, open })),
          ...(tls !== undefined && { tls }),
        });
      },
    },
    {
      method: "POST",
      path: "/api/sign-in-links",
      role: "operator",
      run: async ({ request }) => {
        const role = (await readJson(request))["role"];
        if (role !== "viewer" && role !== "operator") {
          throw new ProblemError(400, "invalid-argument", "role must be viewer or operator.");
        }
        return { status: 201, body: { link: await signIn.link(role) } };
      },
    },
  ];
}

async function listed({ kernel, view }: RouteParts, url: URL): Promise<SessionPage> {
  const query = parseQuery(url.searchParams);
  await view.ready();
  const { rows, next } = view.search(query, query.limit);
  // The view does not hear of touches; what is shown is read again.
  const sessions = await Promise.all(
    rows.map(async (row): Promise<SessionRow> => {
      const found = await kernel.store.get(row.handle, { fresh: true });
      return found === undefined ? row : sessionRow(found.record);
    }),
  );
  return { sessions, ...(next !== undefined && { next }) };
}

async function detail({ kernel }: RouteParts, wanted: Handle): Promise<SessionDetail> {
  const record = await kernel.lookUp(wanted, { ended: true });
  if (record === undefined) throw notFound("session, or it ended too long ago");
  const children: SessionRow[] = [];
  for await (const child of kernel.sessions({ parent: wanted })) {
    children.push(sessionRow(child));
    if (children.length === MOST_CHILDREN) break;
  }
  const timeline = await kernel.store.timeline(wanted, { limit: 1000 });
  return { session: sessionRow(record), data: record.data, children, timeline: timeline.map(timelineEntry) };
}

function ok<Body extends object>(body: Body): Answer {
  return { status: 200, body };
}

function notFound(what: string): ProblemError {
  return new ProblemError(404, "not-found", `There is no such ${what}.`);
}

const MOST_CHILDREN = 200;
