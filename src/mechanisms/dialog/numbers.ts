/**
 * The numbers of `holdfast.v1`. Those that the machine and the codec use stand by themselves as well as in an object: a
 * bundler puts the number where a constant stands, and must leave the member of an object as it is.
 */

// ── tokens (X.215 §7.2): the right to send data, to set minor points, to set major ones or manage activities, to finish

export const TOKEN_DATA = 1;
export const TOKEN_MINOR = 2;
export const TOKEN_MAJOR = 4;
export const TOKEN_RELEASE = 8;
export const TOKEN = {
  data: 1,
  minor: 2,
  major: 4,
  release: 8,
} as const;
export const ALL_TOKENS = 15;

/** Where a token goes, two bits each in the order of `TOKEN`; 2 leaves it to the acceptor. */
export const PLACE_INITIATOR = 0;
export const PLACE_RESPONDER = 1;

// ── kinds and reasons ───────────────────────────────────────────────────────────────────────────────────────────

export const RESYNC_KINDS = ["restart", "set", "abandon"] as const;

/** `dropped`: the sender keeps only the newest of a feed. `purged`: a resynchronization took them back. */
export const GAP_REASONS = ["dropped", "purged"] as const;

export const REFUSED_LOCKED = 3;
export const REFUSED_ENDED = 4;
export const REFUSED_BUSY = 5;
export const REFUSED_UNAVAILABLE = 11;
export const REFUSED = {
  unauthorized: 1,
  unknown: 2,
  locked: 3,
  ended: 4,
  busy: 5,
  version: 6,
  mode: 7,
  outOfStep: 8,
  proof: 9,
  malformed: 10,
  unavailable: 11,
} as const;

export const ABORT_USER = 1;
export const ABORT_PROTOCOL_ERROR = 2;
export const ABORT_REVOKED = 3;
export const ABORT_EXPIRED = 4;
export const ABORT_SUPERSEDED = 5;
export const ABORT = {
  user: 1,
  protocolError: 2,
  revoked: 3,
  expired: 4,
  superseded: 5,
  failed: 6,
  tooLarge: 7,
} as const;

// ── bounds of the format; agreements and credits may be lower ──────────────────────────────────────────────────────

/** Serial numbers of sync points run from 0 to here (X.225 §8.3). */
export const MAX_SERIAL = 999_999;
export const BOUND_MESSAGE_BYTES = 16_777_216;
export const BOUND_URGENT_BYTES = 1024;
export const BOUND_URGENT_OUTSTANDING = 8;
export const BOUND_AUTHORIZATION_BYTES = 8192;
export const BOUND_LABEL_BYTES = 256;
export const BOUND_OPEN_DATA_BYTES = 65_536;
export const BOUND_URL_BYTES = 2048;
export const BOUND_WHY_BYTES = 1024;
export const BOUND_ID_BYTES = 128;
export const BOUND_SECRET_BYTES = 128;
export const BOUND_CREDIT_MESSAGES = 1_048_576;
export const BOUND_CREDIT_BYTES = 1_073_741_824;
/** Numbered messages without content that may be unacknowledged beyond the credit. */
export const BOUND_CONTROL = 256;
export const BOUND_MS = 31_536_000_000;
