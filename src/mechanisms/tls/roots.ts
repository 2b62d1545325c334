/** Where an epoch's root comes from. */
export interface RootSource {
  root(epoch: number): Buffer | undefined;
}

/** The secret is every epoch's root: nothing to agree on, and nothing that is ever forgotten. */
export class DerivedRoots implements RootSource {
  readonly #secret: Buffer;

  constructor(secret: Buffer) {
    this.#secret = secret;
  }

  root(): Buffer {
    return this.#secret;
  }
}
