import { createPrivateKey, generateKeyPairSync, randomBytes, sign } from "node:crypto";
import type { KeyObject } from "node:crypto";

export interface Identity {
  readonly name: string;
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

/**
 * A certificate for this process's lifetime (X.509 version 3, RFC 5280 §4.1) on P-256, signed by `issuer` or by itself.
 * Nothing but the demo's own servers and clients is ever asked to trust it.
 */
export function certify(name: string, issuer?: Identity): Identity {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const now = Date.now();
  const signed = sequence(
    element(0xa0, element(0x02, Buffer.from([2]))),
    // RFC 5280 §4.1.2.2: positive, so without the first bit, and never zero.
    element(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ECDSA_WITH_SHA256,
    nameOf(issuer?.name ?? name),
    sequence(time(now - DAY_MS), time(now + DAY_MS)),
    nameOf(name),
    publicKey.export({ type: "spki", format: "der" }),
    ...(issuer === undefined ? [element(0xa3, sequence(AUTHORITY))] : []),
  );
  const signer: KeyObject = issuer === undefined ? privateKey : createPrivateKey(issuer.key);
  const signature = element(0x03, Buffer.concat([Buffer.from([0]), sign("sha256", signed, signer)]));
  const der = sequence(signed, ECDSA_WITH_SHA256, signature);
  const lines = der.toString("base64").replaceAll(/.{1,64}/g, "$&\n");
  return {
    name,
    cert: `-----BEGIN CERTIFICATE-----\n${lines}-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  };
}

function nameOf(commonName: string): Buffer {
  // 2.5.4.3 commonName as a UTF8String.
  const attribute = sequence(Buffer.from("0603550403", "hex"), element(0x0c, Buffer.from(commonName)));
  return sequence(element(0x31, attribute));
}

/** UTCTime, which RFC 5280 §4.1.2.5 asks for until 2049. */
function time(at: number): Buffer {
  const text = new Date(at).toISOString().replaceAll(/[-:T]|\.\d+/g, "");
  return element(0x17, Buffer.from(text.slice(2)));
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return element(0x30, Buffer.concat(parts));
}

/** DER: X.690 §8.1, with the shortest length there is. */
function element(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const octets =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...octets]), content]);
}

const DAY_MS = 86_400_000;
const ECDSA_WITH_SHA256 = sequence(Buffer.from("06082a8648ce3d040302", "hex"));
/** 2.5.29.19 basicConstraints, critical: it is an authority. */
const AUTHORITY = sequence(Buffer.from("0603551d130101ff040530030101ff", "hex"));
