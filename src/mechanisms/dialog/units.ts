/**
 * Functional units (X.215 §8), for `import * as UNIT`: a bundler puts the number where such a member stands. The first four
 * are the modes, exactly one of which is chosen.
 */

export const halfDuplex = 1;
export const duplex = 2;
/** Only the responder sends. */
export const simplexDown = 4;
/** Only the initiator sends. */
export const simplexUp = 8;
export const urgent = 16;
export const typed = 32;
export const minor = 64;
export const major = 128;
export const resync = 256;
export const activity = 512;
export const release = 1024;
export const exceptions = 2048;

/** The modes together. */
export const modes = 15;
export const all = 4095;
