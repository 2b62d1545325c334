import type { FetchOpened, Sessions } from "../../mechanisms/web/index.ts";
import { createSessions } from "../../mechanisms/web/index.ts";
import type { Part, PartKind, Person, Stage } from "./part.ts";
import { chance, pick } from "./part.ts";

type Data = { pages: number };

/** Logins of people who look around, prove again who they are, leave, or forget to; and now and then a cookie used too late. */
export const web: PartKind = (stage) => Promise.resolve(new WebPart(stage));

class WebPart implements Part {
  readonly mechanism = "web";
  readonly #sessions: Sessions<Data>;
  /** Logins at a desk where one is signed out soon, so that expiry is seen as well. */
  readonly #desk: Sessions<Data>;
  readonly #people: readonly Person[];
  readonly #browsers = new Set<Browser>();

  constructor({ kernel, people, onFault }: Stage) {
    const options = { kernel, onFault, initial: { pages: 0 } };
    // Short, so that nothing is left for long of a demo that was killed.
    this.#sessions = createSessions<Data>({ ...options, idle: "5m", absolute: "30m" });
    this.#desk = createSessions<Data>({ ...options, idle: "15s", absolute: "40s" });
    this.#people = people;
  }

  async step(): Promise<void> {
    if (this.#browsers.size < this.#people.length && (this.#browsers.size === 0 || chance(0.4)))
      return this.#signIn();
    const browser = pick([...this.#browsers]);
    const alive = await browser.visit(async (session) => {
      const what = Math.random();
      if (what < 0.55) await session.update((data) => ({ pages: data.pages + 1 }));
      else if (what < 0.67) await session.stepUp({ amr: ["pwd", "otp"], aal: 2, roles: ["approver"] });
      else if (what < 0.8) await session.rotate();
      else if (what < 0.9) await session.logout();
    });
    if (alive) return;
    this.#browsers.delete(browser);
    // Somebody opens an old tab: the cookie is one of an ended session.
    if (chance(0.5)) await browser.lateUse();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#browsers].map((browser) => browser.visit((session) => session.logout())));
    this.#browsers.clear();
  }

  async #signIn(): Promise<void> {
    const person = pick(this.#people);
    const browser = new Browser(chance(0.2) ? this.#desk : this.#sessions, person);
    // Kept before it is known whether it worked, so that a login which is being written is ended too.
    this.#browsers.add(browser);
    await browser.signIn();
  }
}

/** One browser's cookie jar, and the requests it sends. */
class Browser {
  readonly #sessions: Sessions<Data>;
  readonly #person: Person;
  #cookie: string | undefined;
  #last: string | undefined;

  constructor(sessions: Sessions<Data>, person: Person) {
    this.#sessions = sessions;
    this.#person = person;
  }

  async signIn(): Promise<void> {
    const opened = await this.#open();
    await opened.visitor.establish({ principal: this.#person.name, amr: ["pwd"], aal: 1, roles: ["staff"] });
    await this.#answered(opened);
  }

  /** False when there is no session any more, before or after. */
  async visit(act: (session: NonNullable<FetchOpened<Data>["session"]>) => Promise<void>): Promise<boolean> {
    if (this.#cookie === undefined) return false;
    const opened = await this.#open();
    try {
      if (opened.session === undefined) return false;
      await act(opened.session);
      return opened.session.exists;
    } finally {
      await this.#answered(opened);
    }
  }

  /** With the cookie of the session that ended. */
  async lateUse(): Promise<void> {
    this.#cookie = this.#last;
    await this.#answered(await this.#open());
    this.#cookie = undefined;
  }

  async #open(): Promise<FetchOpened<Data>> {
    const { agent, address } = this.#person;
    const headers = {
      "user-agent": agent,
      ...(this.#cookie !== undefined && { cookie: this.#cookie }),
    };
    return this.#sessions.open(new Request("https://intranet.example/", { headers }), { address });
  }

  async #answered(opened: FetchOpened<Data>): Promise<void> {
    const response = await opened.commit(new Response(null));
    for (const line of response.headers.getSetCookie()) {
      const cookie = line.split(";", 1)[0] ?? "";
      if (!cookie.startsWith("__Host-session=")) continue;
      const value = cookie.slice("__Host-session=".length);
      this.#cookie = value === "" ? undefined : cookie;
      this.#last = this.#cookie ?? this.#last;
    }
  }
}
