import assert from "node:assert/strict";
import { randomBytes, randomInt } from "node:crypto";
import { test } from "node:test";
import type { SyslogMessage } from "../../../src/mechanisms/syslog/index.ts";
import { MessageSplitter, parseMessage } from "../../../src/mechanisms/syslog/index.ts";
import { isFault } from "../../../src/wire/fault.ts";

const BOM = "\ufeff";

function parsed(text: string): SyslogMessage {
  const message = parseMessage(Buffer.from(text));
  if (isFault(message)) assert.fail(`${text}: ${message.why}`);
  return message;
}

test("the examples of RFC 5424 §6.5", () => {
  assert.deepEqual(
    parsed(
      `<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - ${BOM}'su root' failed for lonvick on /dev/pts/8`,
    ),
    {
      format: "rfc5424",
      facility: 4,
      severity: 2,
      timestamp: "2003-10-11T22:14:15.003Z",
      host: "mymachine.example.com",
      app: "su",
      messageId: "ID47",
      structured: [],
      text: "'su root' failed for lonvick on /dev/pts/8",
    },
  );
  const second = parsed(
    "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.",
  );
  assert.equal(second.process, "8710");
  assert.equal(second.messageId, undefined);
  assert.equal(second.text, "%% It's time to make the do-nuts.");
  const third = parsed(
    `<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="Application" eventID="1011"] ${BOM}An application event log entry...`,
  );
  assert.deepEqual(third.structured, [
    {
      id: "exampleSDID@32473",
      params: [
        ["iut", "3"],
        ["eventSource", "Application"],
        ["eventID", "1011"],
      ],
    },
  ]);
  const fourth = parsed(
    '<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="Application" eventID="1011"][examplePriority@32473 class="high"]',
  );
  assert.deepEqual(
    fourth.structured.map(({ id }) => id),
    ["exampleSDID@32473", "examplePriority@32473"],
  );
  assert.equal(fourth.text, "");
});

test("the timestamps of RFC 5424 §6.2.3.1, and those it calls invalid", () => {
  const times = [
    "1985-04-12T23:20:50.52Z",
    "1985-04-12T19:20:50.52-04:00",
    "2003-10-11T22:14:15.003Z",
    "2003-08-24T05:14:15.000003-07:00",
    "2004-02-29T00:00:00Z",
  ];
  for (const time of times) assert.equal(parsed(`<0>1 ${time} h a - - -`).timestamp, time);
  const invalid = [
    "2003-08-24T05:14:15.000000003-07:00",
    "2003-02-29T00:00:00Z",
    "2003-10-11t22:14:15Z",
    "2003-10-11T22:14:15z",
    "2003-10-11T22:14:60Z",
    "2003-10-11T24:00:00Z",
    "2003-13-01T00:00:00Z",
    "2003-10-11T22:14:15",
    "2003-10-11T22:14:15+24:00",
  ];
  for (const time of invalid) assert.ok(isFault(parseMessage(Buffer.from(`<0>1 ${time} h a - - -`))), time);
});

test("structured data as RFC 5424 §6.3.5 has it, and broken", () => {
  const elements = (data: string) => parsed(`<0>1 - - - - - ${data}`).structured;
  assert.deepEqual(elements('[a][b c="d" c="e"]'), [
    { id: "a", params: [] },
    {
      id: "b",
      params: [
        ["c", "d"],
        ["c", "e"],
      ],
    },
  ]);
  assert.deepEqual(elements('[a b="\\"\\\\\\]\\n ü"]'), [{ id: "a", params: [["b", '"\\]\\n ü']] }]);
  // With a space between, the second is the message's.
  assert.equal(parsed('<0>1 - - - - - [a b="c"] [d e="f"]').text, '[d e="f"]');
  for (const broken of [
    "[",
    "[a",
    "[a ",
    '[a b="',
    '[a b="c" ]',
    '[ a b="c"]',
    "[a b=c]",
    '[a b="]"]',
    "[a][a]",
    '[a  b="c"]',
    "x",
    '[a="b"]',
    `[${"a".repeat(33)}]`,
  ])
    assert.ok(isFault(parseMessage(Buffer.from(`<0>1 - - - - - ${broken}`))), broken);
});

test("priorities and header fields within their bounds", () => {
  assert.deepEqual([parsed("<191>1 - - - - - -").facility, parsed("<191>1 - - - - - -").severity], [23, 7]);
  for (const bad of [
    "",
    "<>1 - - - - - -",
    "<192>1 - - - - - -",
    "<00>1 - - - - - -",
    "<013>x",
    "34>1",
    "<34",
    "<-1>x",
    "<34>1 - - - -",
    "<34>1 -  - - - -",
    `<34>1 - ${"h".repeat(256)} - - - -`,
    `<34>1 - - ${"a".repeat(49)} - - -`,
    `<34>1 - - - - ${"m".repeat(33)} -`,
    "<34>1 - - - - - -x",
    "<34>1 - hö - - - -",
  ])
    assert.ok(isFault(parseMessage(Buffer.from(bad))), bad);
  assert.equal(parsed(`<34>1 - ${"h".repeat(255)} - - - - -`).text, "-");
  assert.equal(parsed("<34>1 - - - - - - caf\u00e9 \u{1f600}").text, "caf\u00e9 \u{1f600}");
});

test("the examples of RFC 3164 §5.4, and what merely has a priority", () => {
  assert.deepEqual(parsed("<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8"), {
    format: "rfc3164",
    facility: 4,
    severity: 2,
    timestamp: "Oct 11 22:14:15",
    host: "mymachine",
    app: "su",
    structured: [],
    text: "'su root' failed for lonvick on /dev/pts/8",
  });
  const tagged = parsed("<13>Feb  5 17:32:18 10.0.0.99 cron[42]: run-parts");
  assert.deepEqual([tagged.app, tagged.process, tagged.text], ["cron", "42", "run-parts"]);
  assert.equal(parsed("<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!").text, "Use the BFG!");
  const bare = parsed(
    "<0>1990 Oct 22 10:52:01 TZ-6 scapegoat.dmz.example.org 10.1.2.3 sched[0]: That's All Folks!",
  );
  assert.equal(bare.timestamp, undefined);
  assert.match(bare.text, /^1990 Oct/);
});

test("noise is a message or a fault, and never anything else", (t) => {
  const seed = randomInt(2 ** 31);
  t.diagnostic(`seed ${seed}`);
  let state = seed;
  const next = (below: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return state % below;
  };
  const whole = Buffer.from(
    '<165>1 2003-10-11T22:14:15.003Z host app 1 ID47 [a@1 b="c\\"]"][d] \ufeffmessage',
  );
  for (let turn = 0; turn < 20_000; turn++) {
    const bytes =
      turn % 10 === 0 ? randomBytes(next(80)) : Buffer.from(whole.subarray(0, 1 + next(whole.length)));
    for (let change = next(4); change > 0 && bytes.length > 0; change--)
      bytes[next(bytes.length)] = next(256);
    const message = parseMessage(bytes);
    if (isFault(message)) assert.ok(message.at <= bytes.length, message.why);
    else {
      assert.ok(message.facility < 24 && message.severity < 8);
      assert.ok(message.text.length <= bytes.length);
    }
  }
});

function split(bytes: Uint8Array, step: number, max = 1000): string[] | undefined {
  const splitter = new MessageSplitter(max);
  const messages: string[] = [];
  for (let at = 0; at < bytes.length; at += step) {
    const some = splitter.push(bytes.subarray(at, at + step));
    if (isFault(some)) return undefined;
    messages.push(...some.map(String));
  }
  const last = splitter.end();
  return last === undefined ? messages : [...messages, String(last)];
}

test("both framings of RFC 6587, mixed and cut anywhere", () => {
  const line = "<34>1 - - - - - - one line";
  const counted = "<34>1 - - - - - - with\nline feeds\n";
  const empty = "<0>";
  const count = (text: string) => `${Buffer.byteLength(text)} ${text}`;
  const stream = Buffer.from(
    `${line}\n${count(counted)}${count(empty)}${line}\r\n\n${count(line)}${line}\0\n${line}`,
  );
  const expected = [line, counted, empty, line, line, `${line}\0`, line];
  for (let step = 1; step <= stream.length; step++)
    assert.deepEqual(split(stream, step), expected, `step ${step}`);
});

test("a stream that cannot be told apart any more is a fault, and nothing grows beyond its bound", () => {
  for (const bad of [
    "hello\n",
    "12x<0>",
    "0 <0>",
    "1001 <0>",
    "99999999999",
    "1234567890 <",
    `<${"x".repeat(1001)}`,
  ])
    for (const step of [1, 5, 2000]) assert.equal(split(Buffer.from(bad), step), undefined, bad.slice(0, 20));
  assert.deepEqual(split(Buffer.from(`1000 ${"y".repeat(1000)}`), 7), ["y".repeat(1000)]);
  for (let turn = 0; turn < 2000; turn++) {
    const splitter = new MessageSplitter(200);
    for (let chunk = 0; chunk < 5; chunk++) {
      const some = splitter.push(randomBytes(randomInt(60)));
      if (isFault(some)) break;
      for (const one of some) assert.ok(one.length <= 200);
    }
  }
});
