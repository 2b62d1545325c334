import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { parseSslSession, withoutEnvelope } from "../../src/doctor/tls/ssl-session.ts";
import { isFault } from "../../src/wire/index.ts";

/** What Node 20 kept of a session of TLS 1.3 with another Node; "openssl sess_id" shows the same of it. */
const REAL = Buffer.from(
  [
    "MIIDBAIBAQICAwQEAhMCBCA/RX/tz/wxyaGOZTTx/gbjxsV75SNh01eJ9zeYidwbEgQw4nDyzlwmI/MR8oOR44q3Og+x3LkYjyWH",
    "NbmMMHLgQhDrV3GwRz5LThZuly7T+p0xoQYCBGsD4xaiBAICHCCjggGBMIIBfTCCASOgAwIBAgIUHtYHo0t/W/IMHWRFaE9x1Pw1",
    "iNwwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJbG9jYWxob3N0MB4XDTI2MTEyMzA2NTQxNFoXDTI2MTIyMzA2NTQxNFowFDESMBAG",
    "A1UEAwwJbG9jYWxob3N0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE1TGH8WxhBp4pVtOZxMy7bEaqHrMgMx6GBMEZI12xQfh0",
    "2UAluvtBOPv9MlneC2MLBtv7AgldaGBNMfYLp9O8g6NTMFEwHQYDVR0OBBYEFCG4rvgijB5DoJObyfcMplN45luVMB8GA1UdIwQY",
    "MBaAFCG4rvgijB5DoJObyfcMplN45luVMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhANUFWuLsbg8hlkF0xiLN",
    "i7xE+HBw+Z6y8Iw+QKiniJJ/AiAg6bP6EOpdnUDrfAQPnSOVtTcOmWL37TdS5DVj+1jOiqQCBAClAwIBEqkEAgIcIKqB8wSB8I3w",
    "MszMpMw0NhxwKgQeloQFOOGC1jSRh7iMPGmHiisytWkSV4vjIo7gIF/Xm85OYJVEXoVgPSszM0+CGN3PSbkIEUGNIRurpeZLeYxi",
    "Ry9qC/Mqb9RFMQeBqdMOm2dYpQ+v7xgKizV+t6CQP+7hw9ZM4mMV2f+r4qOIGnXt4tQl5wkMi+KYD3tS/25hY5qOsfqDDFAFPE4K",
    "SoNTvVWUO6LRzrMKHhh43OLiy5TfWgTfhHXEqmpxJwjFApHvF9hJlRqqrDZSooHFgaEF3YJG1Wsom3ICcfQyD2fCdsi9x3QrZtqM",
    "Yi7KrXvA63NHHSis0K4GAgR0NGc/swMCAR0=",
  ].join(""),
  "base64",
);

test("a real session of TLS 1.3 is read: its ticket, lifetime, age and protocol", () => {
  const session = parseSslSession(REAL);
  assert.ok(!isFault(session), JSON.stringify(session));
  assert.equal(session.version, 0x0304);
  assert.equal(session.id.length, 32);
  assert.equal(session.ticket?.length, 240);
  assert.equal(session.ticket?.toString("hex", 0, 16), "8df032cccca4cc34361c702a041e9684");
  assert.deepEqual([session.lifetimeHint, session.ageAdd], [7200, 0x7434673f]);
  assert.deepEqual([session.maxEarlyData, session.hostname], [undefined, undefined]);
});

test("whatever a session holds is read as it was written, in every order of the optional members", () => {
  for (let round = 0; round < 300; round++) {
    const ticket = Buffer.alloc(randomInt(0, 70_000), round);
    const [lifetimeHint, maxEarlyData, ageAdd] = [randomInt(2 ** 31), randomInt(2 ** 32), randomInt(2 ** 32)];
    const optional = [
      explicit(1, integer(1_700_000_000)),
      explicit(6, element(0x04, Buffer.from("shop.example"))),
      explicit(9, integer(lifetimeHint)),
      explicit(10, element(0x04, ticket)),
      explicit(14, integer(ageAdd)),
      explicit(15, integer(maxEarlyData)),
      explicit(30, element(0x04, Buffer.from("of a version to come"))),
    ].sort(() => Math.random() - 0.5);
    const session = parseSslSession(sessionOf(optional));
    assert.ok(!isFault(session), JSON.stringify(session));
    const { id, ticket: read, ...rest } = session;
    assert.deepEqual(rest, {
      version: 0x0303,
      lifetimeHint,
      maxEarlyData,
      ageAdd,
      hostname: "shop.example",
    });
    assert.equal(id.toString("latin1"), "an id");
    assert.ok(read?.equals(ticket));
  }
});

test("a session in the envelope of newer Nodes is taken out of it, and nothing else is", () => {
  const mark = Buffer.from("\0nodejs:tls:session:1\0");
  const wrap = (name: string, body: Buffer): Buffer =>
    Buffer.concat([mark, Buffer.from([name.length >> 8, name.length & 255]), Buffer.from(name), body]);
  for (const name of ["", "shop.example", "n".repeat(300)])
    assert.ok(withoutEnvelope(wrap(name, REAL)).equals(REAL), name);
  assert.ok(withoutEnvelope(REAL).equals(REAL));
  for (const broken of [
    mark,
    mark.subarray(1),
    Buffer.concat([mark, Buffer.from([0, 9, 65])]),
    Buffer.alloc(0),
  ])
    assert.ok(withoutEnvelope(broken).equals(broken));
});

test("a session cut short anywhere, or with something behind it, is a fault with its place", () => {
  for (let length = 0; length < REAL.length; length++) {
    const outcome = parseSslSession(REAL.subarray(0, length));
    assert.ok(isFault(outcome), `${length} bytes were taken for a session`);
    assert.ok(outcome.at >= 0 && outcome.at <= length);
  }
  assert.ok(isFault(parseSslSession(Buffer.concat([REAL, Buffer.from([0])]))));
});

const WRONG: readonly (readonly [what: string, bytes: Buffer, why: RegExp])[] = [
  ["no SEQUENCE", element(0x04, Buffer.alloc(4)), /SEQUENCE/],
  ["a length without an end", Buffer.from([0x30, 0x80, 0, 0]), /without an end/],
  ["a length of five octets", Buffer.from([0x30, 0x85, 0, 0, 0, 0, 0]), /more than four/],
  ["a length longer than need be", Buffer.from([0x30, 0x81, 0x01, 0]), /longer than/],
  ["a tag of several octets", Buffer.from([0x3f, 0x81, 0x01, 0]), /several octets/],
  ["another version of the format", sessionOf([], integer(2)), /version 2/],
  ["a number of seven octets", sessionOf([explicit(9, element(0x02, Buffer.alloc(7, 1)))]), /six octets/],
  ["an empty number", sessionOf([explicit(9, element(0x02, Buffer.alloc(0)))]), /without content/],
  [
    "two elements in a wrapper",
    sessionOf([explicit(9, Buffer.concat([integer(1), integer(2)]))]),
    /more than one/,
  ],
  ["a ticket that is a number", sessionOf([explicit(10, integer(5))]), /OCTET STRING/],
];

for (const [what, bytes, why] of WRONG) {
  test(`${what} is a fault`, () => {
    const outcome = parseSslSession(bytes);
    assert.ok(isFault(outcome));
    assert.match(outcome.why, why);
  });
}

test("no input makes the reader of sessions throw", (t) => {
  const seed = Number(process.env["FUZZ_SEED"] ?? randomInt(2 ** 32));
  t.diagnostic(`FUZZ_SEED=${seed}`);
  console.log(`FUZZ_SEED=${seed}`);
  const next = generator(seed);
  for (let round = 0; round < 40_000; round++) {
    const bytes = Buffer.from(REAL.subarray(0, next(8) === 0 ? next(REAL.length + 1) : REAL.length));
    for (let edits = 1 + next(6); edits > 0 && bytes.length > 0; edits--) {
      const at = next(2) === 0 ? next(Math.min(60, bytes.length)) : next(bytes.length);
      bytes[at] = next(256);
    }
    const outcome = parseSslSession(bytes);
    if (isFault(outcome)) assert.ok(outcome.at >= 0 && outcome.at <= bytes.length, JSON.stringify(outcome));
    else assert.ok((outcome.ticket?.length ?? 0) + outcome.id.length <= bytes.length);
  }
});

function sessionOf(optional: readonly Buffer[], format: Buffer = integer(1)): Buffer {
  const fixed = [
    format,
    integer(0x0303),
    element(0x04, Buffer.from([0xc0, 0x2f])),
    element(0x04, Buffer.from("an id")),
    element(0x04, Buffer.alloc(48)),
  ];
  return element(0x30, Buffer.concat([...fixed, ...optional]));
}

function explicit(number: number, content: Buffer): Buffer {
  return element(0xa0 | number, content);
}

function integer(value: number): Buffer {
  const bytes = Buffer.alloc(6);
  bytes.writeIntBE(value, 0, 6);
  let from = 0;
  // In as few octets as keep the sign.
  while (from < 5 && bytes[from] === 0 && (bytes[from + 1] ?? 0) < 0x80) from++;
  return element(0x02, bytes.subarray(from));
}

function element(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const octets =
    length < 0x80
      ? [length]
      : length < 0x100
        ? [0x81, length]
        : length < 0x10000
          ? [0x82, length >> 8, length & 255]
          : [0x83, length >> 16, (length >> 8) & 255, length & 255];
  return Buffer.concat([Buffer.from([tag, ...octets]), content]);
}

/** xorshift32: whole numbers below a bound, the same for the same seed. */
function generator(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}
