import type { IncomingMessage, ServerResponse } from "node:http";
import type { Handle, Kernel, Sessions, WebSession } from "../../src/web.ts";
import { createSessions, parseHandle } from "../../src/web.ts";
import type { Notice } from "./pages.ts";
import { confirmPage, homePage, signInPage, thiefPage } from "./pages.ts";
import { Thief } from "./thief.ts";
import { uploadPage } from "./upload-page.ts";
import { script, Uploads } from "./uploads.ts";
import type { User } from "./users.ts";
import { Users } from "./users.ts";

/** What the demo keeps in a session. */
type Data = { readonly afterConfirm?: string; readonly notice?: string };

export interface Demo {
  readonly sessions: Sessions<Data>;
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void;
  /** Lets uploads go, with all they have brought made durable. */
  close(): Promise<void>;
}

/** The demo over a kernel: plain node:http, so that nothing stands between you and what Holdfast does. */
export async function createDemo(kernel: Kernel, folder: string): Promise<Demo> {
  const users = await Users.withTwo();
  const sessions = createSessions<Data>({
    kernel,
    remember: "30d",
    limits: { perPrincipal: 10, onLimit: "evict-oldest" },
  });
  const uploads = await Uploads.open(kernel, (request) => sessions.of(request), folder);
  const site = new Site(sessions, users, new Thief(kernel), uploads);
  return {
    sessions,
    handle: (request, response) => {
      site.answer(request, response).catch((error: unknown) => fail(response, error));
    },
    close: () => uploads.close(),
  };
}

interface Visit {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly session: WebSession<Data>;
  readonly path: string;
  readonly user: User | undefined;
}

class Site {
  readonly #sessions: Sessions<Data>;
  readonly #users: Users;
  readonly #thief: Thief;
  readonly #uploads: Uploads;

  constructor(sessions: Sessions<Data>, users: Users, thief: Thief, uploads: Uploads) {
    this.#uploads = uploads;
    this.#sessions = sessions;
    this.#users = users;
    this.#thief = thief;
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader(
      "content-security-policy",
      "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'",
    );
    response.setHeader("x-content-type-options", "nosniff");
    response.setHeader("referrer-policy", "same-origin");
    const session = await this.#sessions.node(request, response);
    if (session === undefined) return;
    const path = (request.url ?? "/").split("?", 1)[0] ?? "/";
    if (await this.#uploads.answer(request, response, path)) return;
    const user = session.principal === undefined ? undefined : this.#users.find(session.principal);
    const visit = { request, response, session, path, user };
    if (request.method === "GET" || request.method === "HEAD") return this.#show(visit);
    if (request.method === "POST") return this.#act(visit);
    response.setHeader("allow", "GET, HEAD, POST");
    send(response, 405, "This address takes GET and POST.");
  }

  async #show({ response, path, user, session, request }: Visit): Promise<void> {
    const copy = this.#thief.find(path.slice("/thief/".length));
    if (path.startsWith("/thief/") && copy !== undefined)
      return page(response, thiefPage(copy, await this.#sessions.kernel.store.timeline(copy.handle)));
    if (path === "/api/me")
      return json(response, user === undefined ? 401 : 200, { user: user?.name, session: session.handle });
    if (path === "/api/uploads")
      return json(response, user === undefined ? 401 : 200, await this.#uploads.of(session.handle));
    const module = path.startsWith("/script/") ? await script(path) : undefined;
    if (module !== undefined) return javascript(response, module);
    if (path === "/uploads" && user !== undefined && session.handle !== undefined)
      return page(response, uploadPage(user, session.handle));
    if (path === "/uploads") return redirect(response, "/", "Sign in first.");
    if (path === "/confirm" && user !== undefined) return page(response, confirmPage(user));
    if (path !== "/") return send(response, 404, "There is nothing here.");
    if (user === undefined) return page(response, signInPage(takeNotice(request)));
    await this.#home(response, session, user, takeNotice(request));
  }

  async #home(
    response: ServerResponse,
    session: WebSession<Data>,
    user: User,
    notice: Notice | undefined,
  ): Promise<void> {
    const list = await this.#sessions.list(user.name);
    const mine = list.find((one) => one.handle === session.handle);
    if (mine === undefined) return redirect(response, "/");
    const timeline = await this.#sessions.kernel.store.timeline(mine.handle);
    const others = list.filter((one) => one !== mine);
    page(
      response,
      homePage({
        user,
        mine,
        sessions: [mine, ...others],
        timeline,
        copies: this.#thief.of(mine.handle),
        fresh: session.isFresh(CONFIRM_FOR),
        now: this.#sessions.kernel.clock.now(),
        notice,
      }),
    );
  }

  async #act(visit: Visit): Promise<void> {
    const { response, path, session, user } = visit;
    const form = await readForm(visit.request);
    if (form === undefined) return send(response, 413, `A form here has at most ${FORM_BYTES} bytes.`);
    if (path === "/login") return this.#login(visit, form);
    if (path.startsWith("/thief/")) {
      const copy = await this.#thief.use(path.slice("/thief/".length));
      return copy === undefined
        ? send(response, 404, "The thief has no such copy.")
        : redirect(response, `/thief/${copy.id}`);
    }
    if (user === undefined) return redirect(response, "/", "Sign in first.");
    if (path === "/logout") {
      await session.logout();
      return redirect(response, "/", "You are signed out. The old cookie opens nothing any more.");
    }
    if (path === "/confirm") return this.#confirm(visit, user, form);
    if (path === "/email") return this.#changeEmail(visit, user, form);
    if (path === "/end-others") {
      const ended = await session.endOthers();
      return redirect(
        response,
        "/",
        ended === 1 ? "The other session was ended." : `The ${ended} other sessions were ended.`,
      );
    }
    if (path.startsWith("/end/"))
      return this.#endOne(response, user, parseHandle(path.slice("/end/".length)));
    if (path === "/rotate") {
      await session.rotate();
      return redirect(
        response,
        "/",
        "Your cookie was replaced. The old one is good for ten more seconds; a use after that is taken for theft.",
      );
    }
    if (path === "/thief") return this.#letCopy(visit);
    send(response, 404, "There is nothing here.");
  }

  async #login({ response, session }: Visit, form: URLSearchParams): Promise<void> {
    const user = await this.#users.check(form.get("name") ?? "", form.get("password") ?? "");
    if (user === undefined)
      return page(
        response,
        signInPage({ text: "That name and password do not go together.", bad: true }),
        403,
      );
    await session.establish({
      principal: user.name,
      amr: ["pwd"],
      aal: 1,
      remember: form.get("remember") === "yes",
    });
    redirect(response, "/");
  }

  async #confirm({ response, session }: Visit, user: User, form: URLSearchParams): Promise<void> {
    if ((await this.#users.check(user.name, form.get("password") ?? "")) === undefined) {
      return page(response, confirmPage(user, { text: "That is not the password.", bad: true }), 403);
    }
    const email = session.data?.afterConfirm;
    await session.stepUp({ amr: ["pwd"] });
    if (email === undefined) return redirect(response, "/");
    await session.update(() => ({}));
    this.#setEmail(response, user, email);
  }

  async #changeEmail({ response, session }: Visit, user: User, form: URLSearchParams): Promise<void> {
    const email = form.get("email") ?? "";
    if (!/^[^\s@]{1,100}@[^\s@]{1,100}$/.test(email))
      return redirect(response, "/", "That is no e-mail address.", true);
    const fresh = this.#sessions.freshness(session, CONFIRM_FOR) === undefined;
    if (fresh && form.get("later") !== "yes") return this.#setEmail(response, user, email);
    await session.update(() => ({ afterConfirm: email }));
    redirect(response, "/confirm");
  }

  #setEmail(response: ServerResponse, user: User, email: string): void {
    user.email = email;
    redirect(
      response,
      "/",
      "Your e-mail address was changed. If you did not expect another browser in the list, end it.",
    );
  }

  /** A person ends only what is theirs. */
  async #endOne(response: ServerResponse, { name }: User, handle: Handle | undefined): Promise<void> {
    const ended = handle !== undefined && (await this.#sessions.end(handle, { principal: name, by: name }));
    redirect(response, "/", ended ? "That session was ended." : "There is no such session of yours.", !ended);
  }

  #letCopy({ request, response, session }: Visit): void {
    const secret = /(?:^|; *)__Host-session=([\w-]{43})/.exec(request.headers.cookie ?? "")?.[1];
    if (secret === undefined || session.handle === undefined) return redirect(response, "/");
    redirect(response, `/thief/${this.#thief.take(session.handle, secret).id}`);
  }
}

async function readForm(request: IncomingMessage): Promise<URLSearchParams | undefined> {
  let text = "";
  for await (const chunk of request as AsyncIterable<Buffer>) {
    text += chunk.toString("latin1");
    if (text.length > FORM_BYTES) return undefined;
  }
  return new URLSearchParams(text);
}

function page(response: ServerResponse, text: string, status = 200): void {
  response.writeHead(status, { "content-type": "text/html; charset=utf-8", "cache-control": "no-store" });
  response.end(text);
}

function json(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" });
  response.end(JSON.stringify(body));
}

function javascript(response: ServerResponse, text: string): void {
  response.writeHead(200, { "content-type": "text/javascript; charset=utf-8", "cache-control": "no-cache" });
  response.end(text);
}

function send(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8" });
  response.end(`${text}\n`);
}

/** A notice travels to the next page in the address, as an index into what can be said: nobody can put words in here. */
function redirect(response: ServerResponse, to: string, notice?: string, bad = false): void {
  if (notice !== undefined) notices.set(notice, bad);
  const n = notice === undefined ? -1 : [...notices.keys()].indexOf(notice);
  response.writeHead(303, { location: n < 0 ? to : `${to}?notice=${n}` });
  response.end();
}

const notices = new Map<string, boolean>();

function takeNotice(request: IncomingMessage): Notice | undefined {
  const n = /[?&]notice=(\d{1,3})$/.exec(request.url ?? "")?.[1];
  const found = n === undefined ? undefined : [...notices][Number(n)];
  return found === undefined ? undefined : { text: found[0], bad: found[1] };
}

function fail(response: ServerResponse, error: unknown): void {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  if (response.headersSent) response.destroy();
  else send(response, 500, "Something went wrong here; it is in the server's log.");
}

const CONFIRM_FOR = "1m";
const FORM_BYTES = 8 * 1024;
