/**
 * Why something cannot be, in words. The machine gives a short reason, `code` or `code:argument:argument`, so that whoever
 * has little room (a page in a browser) need not carry the sentences; where there is room they are put in here.
 */
export function explain(reason: string): string {
  const [code = "", ...given] = reason.split(":");
  const sentence = SENTENCES[code];
  return sentence === undefined
    ? reason
    : sentence.replace(/\$(\d)/g, (_, index) => given[Number(index)] ?? "");
}

const SENTENCES: Readonly<Record<string, string>> = {
  // the rules of the dialog
  finished: "the dialog is finished",
  unagreed: "$0 was not agreed on when the dialog was opened",
  finishing: "it has asked to finish and must wait for the answer",
  purging: "its $0 is not answered yet, and it must wait for that",
  token: "$0 needs the $1 token",
  outside: "$0 belongs inside an activity",
  major: "its major sync point is not confirmed yet, and it must wait for that",
  gap: "no messages are $0 in this dialog",
  purge: "the other side's $0 goes before it",
  answer: "the other side's $0 must be answered first",
  wanted: "$0 was to come",
  placement: "its answer places a token against the request",
  resync: "the dialog goes on at $0",
  confirm: "the other side's major sync point must be confirmed first",
  finish: "the other side's wish to finish comes first",
  exception: "the other side reported an exception; deal with it first",
  simplex: "only the other side speaks in this simplex dialog",
  size: "a message has at most $0 bytes",
  "no-token": "no token was named that can be meant",
  "not-held": "it does not have the $0 token",
  "no-activity": "no activity is going on",
  serial: "the next sync point is $0",
  serials: "the serial numbers are used up; resynchronize with set",
  "no-minor": "there is no minor sync point for it to confirm",
  points: "the points $0 to $1 are to be confirmed",
  "no-major": "there is no such major sync point to confirm",
  "no-resync": "there is nothing to resynchronize",
  "restart-low": "restart goes back to $0 at most",
  "restart-high": "restart is from $0 at most",
  "in-activity": "an activity is going on already",
  "turn-held": "who has the data token has other ways than an exception",
  activity: "an activity is going on; end, interrupt or discard it first",
  "purge-first": "a purge is under way",
  "no-finish": "nobody has asked to finish",
  "no-answer": "there is nothing to be answered",
  // numbers, credit, the link
  messages: "more than $0 messages are unacknowledged",
  bytes: "more than $0 bytes are unacknowledged",
  control: "too many control messages are unacknowledged",
  next: "it wants $0 next, where $1 to $2 are possible",
  sent: "it has sent $0 messages, and $1 have come",
  ack: "it acknowledges up to $0, where $1 to $2 are possible",
  numbers: "the message numbers are used up",
  missed: "a gap from $0 to $1 where $2 was to come",
  "no-link": "there is no link",
  early: "nothing may come before the link is agreed on",
  late: "$0 belongs to the opening of a link",
  pong: "it answers a ping that was not sent",
  urgent: "more than 8 urgent messages are unanswered",
  "urgent-ack": "it acknowledges urgent data that was not sent",
  // bytes
  short: "it ends too early",
  padded: "a number is not in its shortest form",
  above: "a number is above $0",
  long: "a number is longer than 8 bytes",
  text: "a text is not UTF-8",
  choice: "a choice that does not exist",
  type: "there is no frame of type $0",
  // what a dialog tells its user
  taken: "a resynchronization has taken it back",
  unfinished: "the other side does not want to finish yet",
};
