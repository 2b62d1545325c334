import { randomBytes } from "node:crypto";
import type { Handle, Kernel } from "../../src/web.ts";

/** A copied cookie in the thief's hands, and what came of using it. */
export interface Copy {
  readonly id: string;
  readonly handle: Handle;
  readonly at: number;
  readonly tries: { readonly at: number; readonly opened: boolean; readonly says: string }[];
}

const MOST = 100;

/** Plays the thief. A real application never keeps a secret; this one does to show what becomes of a copy. */
export class Thief {
  readonly #kernel: Kernel;
  readonly #copies = new Map<string, Copy & { readonly secret: string }>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  take(handle: Handle, secret: string): Copy {
    const copy = {
      id: randomBytes(9).toString("base64url"),
      handle,
      at: this.#kernel.clock.now(),
      tries: [],
      secret,
    };
    const oldest = this.#copies.keys().next();
    if (this.#copies.size >= MOST && oldest.done !== true) this.#copies.delete(oldest.value);
    this.#copies.set(copy.id, copy);
    return copy;
  }

  find(id: string): Copy | undefined {
    return this.#copies.get(id);
  }

  of(handle: string): readonly Copy[] {
    return [...this.#copies.values()].filter((copy) => copy.handle === handle);
  }

  async use(id: string): Promise<Copy | undefined> {
    const copy = this.#copies.get(id);
    if (copy === undefined) return undefined;
    const presented = await this.#kernel.present(copy.secret);
    const says = presented.good ? OPENED[presented.slot] : REFUSED[presented.why];
    copy.tries.unshift({ at: this.#kernel.clock.now(), opened: presented.good, says });
    return copy;
  }
}

const OPENED = {
  current:
    "It opens the session: a copy is as good as the cookie itself, until the cookie changes or the session ends.",
  pending: "It opens the session.",
  previous:
    "It still opens the session: the cookie was replaced less than ten seconds ago, and requests under way may be late.",
} as const;

const REFUSED = {
  unknown: "Refused: no session was ever made with it.",
  ended: "Refused: the session has ended, and nothing brings it back. The attempt is in its journal.",
  expired: "Refused: the session has expired.",
  revoked: "Refused: the session was revoked.",
  locked: "Refused: a lock stands in front of it.",
  retired: "Refused: the cookie was replaced on a change of privilege, so this one is worth nothing.",
  reused:
    "Refused, and taken for theft: the cookie had been replaced, so somebody else holds a copy. The whole session was ended.",
} as const;
