import { createHmac, randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { HoldfastError } from "../../kernel/index.ts";

/** A user of a listener, as it stands in a configuration. */
export interface User {
  readonly name: string;
  /** From `hashPassword`: `scrypt$N$r$p$salt$hash`. */
  readonly hash: string;
}

/** A password to what may stand in a configuration. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16);
  const hash = await derive(password, { ...COST, salt, size: 32 });
  return ["scrypt", COST.n, COST.r, COST.p, salt.toString("base64url"), hash.toString("base64url")].join("$");
}

/** Users with hashed passwords. Checking one is slow by design, so what was right once is remembered, keyed. */
export class Users {
  readonly #hashes = new Map<string, Hash>();
  readonly #key = randomBytes(32);
  /** Per user, a keyed digest of the password that was right. A process restart forgets it. */
  readonly #proven = new Map<string, Buffer>();
  readonly #checking = new Map<string, Promise<boolean>>();
  readonly #queue: (() => void)[] = [];
  #running = 0;

  /** @throws HoldfastError `invalid-argument` when a hash is none of ours or a name comes twice. */
  constructor(users: readonly User[]) {
    for (const { name, hash } of users) {
      const parsed = parseHash(hash);
      if (parsed === undefined || this.#hashes.has(name) || name === "") {
        const message = "A user needs a name of its own and a hash made by hashPassword";
        throw new HoldfastError("invalid-argument", `${message}; look at the user "${name}".`, {
          detail: { name },
        });
      }
      this.#hashes.set(name, parsed);
    }
  }

  /** An unknown user takes as long as a wrong password. False also when too many wait to be checked. */
  verify(name: string, password: string): Promise<boolean> {
    const digest = createHmac("sha256", this.#key).update(`${name}\0${password}`).digest();
    const proven = this.#proven.get(name);
    if (proven !== undefined && timingSafeEqual(proven, digest)) return Promise.resolve(true);
    // Many connections of one client begin at once, and one check answers for all of them.
    const id = digest.toString("latin1");
    const same = this.#checking.get(id);
    if (same !== undefined) return same;
    if (this.#checking.size >= CHECKS_WAITING) return Promise.resolve(false);
    const check = this.#check(name, password, digest).finally(() => this.#checking.delete(id));
    this.#checking.set(id, check);
    return check;
  }

  async #check(name: string, password: string, digest: Buffer): Promise<boolean> {
    if (this.#running >= CHECKS_AT_ONCE) await new Promise<void>((go) => this.#queue.push(go));
    else this.#running++;
    try {
      const known = this.#hashes.get(name);
      const hash = known ?? NOBODY;
      const derived = await derive(password, { ...hash, size: hash.hash.length });
      const good = timingSafeEqual(derived, hash.hash) && known !== undefined;
      if (good) this.#proven.set(name, digest);
      return good;
    } finally {
      const next = this.#queue.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}

interface Cost {
  readonly n: number;
  readonly r: number;
  readonly p: number;
}

interface Hash extends Cost {
  readonly salt: Buffer;
  readonly hash: Buffer;
}

function parseHash(text: string): Hash | undefined {
  const parts = /^scrypt\$(\d{1,7})\$(\d{1,2})\$(\d{1,2})\$([\w-]{1,128})\$([\w-]{22,128})$/.exec(text);
  if (parts === null) return undefined;
  const [n, r, p] = [Number(parts[1]), Number(parts[2]), Number(parts[3])];
  const salt = Buffer.from(parts[4] ?? "", "base64url");
  const hash = Buffer.from(parts[5] ?? "", "base64url");
  const powerOfTwo = n > 1 && (n & (n - 1)) === 0;
  return powerOfTwo && r > 0 && p > 0 && n * r * 128 <= MAX_MEMORY / 2 ? { n, r, p, salt, hash } : undefined;
}

function derive(password: string, options: Cost & { salt: Buffer; size: number }): Promise<Buffer> {
  const { n, r, p, salt, size } = options;
  return new Promise((resolve, reject) => {
    scrypt(password, salt, size, { N: n, r, p, maxmem: MAX_MEMORY }, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}

const COST: Cost = { n: 16_384, r: 8, p: 1 };
const MAX_MEMORY = 256 * 1024 * 1024;
/** Guessing must not take the machine's memory (16 MiB a check) or all of its threads: two are left for name lookups. */
const CHECKS_AT_ONCE = 2;
const CHECKS_WAITING = 256;
const NOBODY: Hash = { ...COST, salt: randomBytes(16), hash: randomBytes(32) };
