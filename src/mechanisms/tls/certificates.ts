import { X509Certificate } from "node:crypto";
import type { DetailedPeerCertificate, TLSSocket } from "node:tls";
import type { Json } from "../../kernel/index.ts";
import type { ClientCertificate } from "./options.ts";

/** What is kept of the client's certificate with its session; `undefined` when it showed none that was good. */
export function certificateOf(socket: TLSSocket): ClientCertificate | undefined {
  if (!socket.authorized) return undefined;
  const leaf = socket.getPeerX509Certificate();
  if (leaf === undefined) return undefined;
  let notAfter = Infinity;
  let last: DetailedPeerCertificate | undefined;
  for (const one of chainOf(socket.getPeerCertificate(true))) {
    notAfter = Math.min(notAfter, Date.parse(one.valid_to));
    last = one;
  }
  if (last === undefined || Number.isNaN(notAfter)) return undefined;
  return {
    fingerprint: leaf.fingerprint256,
    serialNumber: leaf.serialNumber,
    subject: leaf.subject,
    notAfter,
    authority: last.fingerprint256,
  };
}

/** Fingerprints of the certificates in PEM texts; what is none is left out. */
export function fingerprintsOf(ca: CertificateList): ReadonlySet<string> {
  const texts = (Array.isArray(ca) ? ca : [ca]).map(String).join("\n");
  const found = new Set<string>();
  for (const [pem] of texts.matchAll(PEM)) found.add(new X509Certificate(pem).fingerprint256);
  return found;
}

export type CertificateList = string | Buffer | readonly (string | Buffer)[];

export function certificateToJson(certificate: ClientCertificate): Json {
  return { ...certificate };
}

export function certificateFromJson(value: Json | undefined): ClientCertificate | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const { fingerprint, serialNumber, subject, notAfter, authority } = value as Partial<Record<string, Json>>;
  if (typeof fingerprint !== "string" || typeof serialNumber !== "string" || typeof subject !== "string")
    return undefined;
  if (typeof notAfter !== "number" || typeof authority !== "string") return undefined;
  return { fingerprint, serialNumber, subject, notAfter, authority };
}

/** From the leaf to the last there is: Node gives a root as its own issuer. */
function* chainOf(leaf: DetailedPeerCertificate): Iterable<DetailedPeerCertificate> {
  const seen = new Set<string>();
  let one: DetailedPeerCertificate | undefined = leaf;
  while (one?.fingerprint256 !== undefined && !seen.has(one.fingerprint256)) {
    seen.add(one.fingerprint256);
    yield one;
    one = one.issuerCertificate;
  }
}

const PEM = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;
