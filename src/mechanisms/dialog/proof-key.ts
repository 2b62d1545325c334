import { proofText } from "./proof.ts";

export interface ProofKey {
  readonly publicKey: Uint8Array;
  /** Over what PROOF signs. */
  sign(handle: string, epoch: number, nonce: Uint8Array): Promise<Uint8Array>;
}

export async function proofKey(): Promise<ProofKey> {
  const { subtle } = globalThis.crypto;
  const algorithm = { name: "ECDSA", namedCurve: "P-256" };
  const pair = await subtle.generateKey(algorithm, false, ["sign", "verify"]);
  return {
    publicKey: new Uint8Array(await subtle.exportKey("raw", pair.publicKey)),
    sign: async (handle, epoch, nonce) => {
      const text = proofText(handle, epoch, nonce);
      return new Uint8Array(await subtle.sign({ name: "ECDSA", hash: "SHA-256" }, pair.privateKey, text));
    },
  };
}
