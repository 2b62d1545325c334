import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";

export interface User {
  readonly name: string;
  readonly fullName: string;
  email: string;
}

interface Stored extends User {
  readonly salt: Buffer;
  readonly hash: Buffer;
}

/** Two people, kept in memory; their passwords are kept as scrypt hashes, as an application of yours would. */
export class Users {
  readonly #byName = new Map<string, Stored>();
  /** Somebody who is not there costs as much time as somebody who is. */
  readonly #nobody = { salt: randomBytes(16), hash: Buffer.alloc(32) };

  static async withTwo(): Promise<Users> {
    const users = new Users();
    await users.#add("ada", "Ada Lovelace", "ada@example.org", "analytical");
    await users.#add("grace", "Grace Hopper", "grace@example.org", "nanosecond");
    return users;
  }

  find(name: string): User | undefined {
    return this.#byName.get(name);
  }

  async check(name: string, password: string): Promise<User | undefined> {
    const stored = this.#byName.get(name);
    const { salt, hash } = stored ?? this.#nobody;
    const same = timingSafeEqual(await derive(password, salt), hash);
    return same ? stored : undefined;
  }

  async #add(name: string, fullName: string, email: string, password: string): Promise<void> {
    const salt = randomBytes(16);
    this.#byName.set(name, { name, fullName, email, salt, hash: await derive(password, salt) });
  }
}

function derive(password: string, salt: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(password, salt, 32, { N: 2 ** 14, r: 8, p: 1 }, (error, key) =>
      error ? reject(error) : resolve(key),
    );
  });
}
