import type {
  LockBody,
  LockRow,
  Me,
  NodeRow,
  PreviewAnswer,
  Problem,
  RevocationAnswer,
  RevokeBody,
  SelectorBody,
  SessionDetail,
  SessionPage,
  Summary,
} from "../../src/console/contract.ts";

/** A refusal by the gateway, or that it could not be reached (status 0). */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;

  constructor({ status, code, title, detail }: Pick<Problem, "status" | "code" | "title" | "detail">) {
    super(detail === undefined ? title : `${title} ${detail}`);
    this.status = status;
    this.code = code;
  }
}

export const api = {
  me: (): Promise<Me> => call("GET", "/api/me"),
  sessions: (query: URLSearchParams): Promise<SessionPage> => call("GET", `/api/sessions?${query}`),
  session: (handle: string): Promise<SessionDetail> =>
    call("GET", `/api/sessions/${encodeURIComponent(handle)}`),
  preview: (selector: SelectorBody): Promise<PreviewAnswer> => call("POST", "/api/preview", selector),
  revoke: (body: RevokeBody): Promise<RevocationAnswer> => call("POST", "/api/revocations", body),
  revocations: (): Promise<{ revocations: RevocationAnswer[] }> => call("GET", "/api/revocations"),
  revocation: (id: string): Promise<RevocationAnswer> =>
    call("GET", `/api/revocations/${encodeURIComponent(id)}`),
  locks: (): Promise<{ locks: LockRow[] }> => call("GET", "/api/locks"),
  lock: (body: LockBody): Promise<{ lock: LockRow; revocation: RevocationAnswer }> =>
    call("POST", "/api/locks", body),
  unlock: (id: string): Promise<object> => call("DELETE", `/api/locks/${encodeURIComponent(id)}`),
  nodes: (): Promise<{ nodes: NodeRow[] }> => call("GET", "/api/nodes"),
  summary: (): Promise<Summary> => call("GET", "/api/summary"),
  signInLink: (role: Me["role"]): Promise<{ link: string }> => call("POST", "/api/sign-in-links", { role }),
  signOut: async (): Promise<void> => {
    await fetch("/sign-out", { method: "POST" });
  },
} as const;

const refusalListeners = new Set<() => void>();

/** Hears when the gateway no longer takes this browser for signed in. */
export function onSignedOut(listener: () => void): void {
  refusalListeners.add(listener);
}

async function call<T>(method: string, path: string, body?: object): Promise<T> {
  const response = await reach(path, {
    method,
    ...(body !== undefined && {
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    }),
  });
  if (response.status === 401) for (const listener of refusalListeners) listener();
  if (!response.ok) throw await problemIn(response);
  // The gateway that serves this page is of the same version: its answers are the contract's shapes.
  return (await response.json()) as T;
}

async function reach(path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(path, init);
  } catch (error) {
    throw new ApiError({
      status: 0,
      code: "unreachable",
      title: "The gateway cannot be reached.",
      detail: String(error),
    });
  }
}

async function problemIn(response: Response): Promise<ApiError> {
  const { status } = response;
  try {
    const problem = (await response.json()) as Problem;
    return new ApiError({ ...problem, status });
  } catch {
    // Not the gateway's own words: a proxy in between.
    return new ApiError({
      status,
      code: "unknown",
      title: `The answer was ${status} ${response.statusText}.`,
    });
  }
}
