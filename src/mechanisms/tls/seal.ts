import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

/** AES-256-GCM: 12 bytes of nonce, the ciphertext, 16 bytes of tag. `about` binds it to the place it is kept in. */
export function seal(key: Buffer, plain: Uint8Array, about: string): Buffer {
  const nonce = randomBytes(NONCE);
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(about));
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** `undefined` when it was not sealed with this key for this place. */
export function unseal(key: Buffer, sealed: Uint8Array, about: string): Buffer | undefined {
  if (sealed.length < NONCE + TAG) return undefined;
  const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(0, NONCE), { authTagLength: TAG });
  decipher.setAAD(Buffer.from(about)).setAuthTag(sealed.subarray(sealed.length - TAG));
  const plain = decipher.update(sealed.subarray(NONCE, sealed.length - TAG));
  try {
    return Buffer.concat([plain, decipher.final()]);
  } catch {
    // Node has no other way of saying that the tag does not fit.
    return undefined;
  }
}

const NONCE = 12;
const TAG = 16;
