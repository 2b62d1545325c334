import { HoldfastError } from "../../kernel/index.ts";
import type { Range } from "./address.ts";
import { inRange, parseAddress, parseRange, unmapped } from "./address.ts";
import type { Command } from "./codec.ts";

/**
 * Who may go where. All conditions that are given must hold; of a list, one is enough. The first rule that matches
 * decides; when none does, it is denied.
 */
export interface Rule {
  readonly action: "allow" | "deny";
  /** `*` stands for anybody who has proved who they are. Left out: everybody. */
  readonly principals?: readonly string[];
  readonly commands?: readonly Command[];
  /** Where the client comes from: ranges, or the words of `addresses`. */
  readonly clients?: readonly string[];
  /** The destination as the client named it: `example.com`, `*.example.com` (anything under it), or `*` for any name. */
  readonly names?: readonly string[];
  /**
   * The destination's address, after resolving: ranges (`10.0.0.0/8`), `public`, `private`, `loopback`, `link-local`,
   * `multicast`, `reserved`, or `any`. A rule that allows and does not say covers public addresses only, so that a name
   * cannot be pointed at the proxy's own network behind the rule's back (DNS rebinding).
   */
  readonly addresses?: readonly string[];
  /** Single ports, or ranges as `"8000-8099"`. */
  readonly ports?: readonly (number | string)[];
}

/** What is asked for. */
export interface Question {
  readonly principal: string | undefined;
  readonly command: Command;
  /** The client's address. */
  readonly client: string;
  /** The destination as it was named: a name, or an address in text. */
  readonly host: string;
  readonly port: number;
}

export type Answer = "allow" | "deny";

/** Everybody, to public addresses: an open listener must not open the house it stands in. */
export const DEFAULT_RULES: readonly Rule[] = [{ action: "allow" }];

/** Checked and compiled once, asked often. */
export class Rules {
  readonly #rules: readonly CompiledRule[];

  /** @throws HoldfastError `invalid-argument` when a rule holds something that is no range, word or port. */
  constructor(rules: readonly Rule[] = DEFAULT_RULES) {
    this.#rules = rules.map(compile);
  }

  /**
   * The answer for one resolved address of the destination. Without one: the answer if it is the same whatever the
   * address turns out to be, otherwise `undefined`, and one has to resolve first.
   */
  decide(question: Question, address?: string): Answer | undefined {
    const bytes = address === undefined ? undefined : parseAddress(address);
    const target = bytes === undefined ? undefined : unmapped(bytes);
    for (const rule of this.#rules) {
      if (!rule.covers(question)) continue;
      if (rule.address === undefined) return rule.action;
      if (target === undefined) return undefined;
      if (rule.address(target)) return rule.action;
    }
    return "deny";
  }

  /** Whether there is any destination the question's sender could be allowed; for UDP, which names its destinations later. */
  allowsAnything(question: Question): boolean {
    return this.#rules.some((rule) => rule.action === "allow" && rule.concerns(question));
  }

  /** The answer for a destination that an upstream proxy will resolve: only what was asked for counts. */
  decideUnresolved(question: Question): Answer {
    const rule = this.#rules.find((one) => one.covers(question) && !one.namesAddresses);
    return rule?.action ?? "deny";
  }
}

interface CompiledRule {
  readonly action: Answer;
  /** The part of `covers` that does not ask where to. */
  readonly concerns: (question: Question) => boolean;
  readonly covers: (question: Question) => boolean;
  /** Left out when the address does not matter. */
  readonly address?: AddressTest;
  readonly namesAddresses: boolean;
}

type AddressTest = (address: Buffer) => boolean;

function compile(rule: Rule): CompiledRule {
  if (rule.action !== "allow" && rule.action !== "deny") {
    throw invalid(`A rule's action is "allow" or "deny"`, rule.action);
  }
  const clients = rule.clients === undefined ? undefined : addressTest(rule.clients);
  const names = rule.names?.map((name) => name.toLowerCase());
  const ports = rule.ports?.map(portRange);
  const namesAddresses = rule.addresses !== undefined && !rule.addresses.includes("any");
  const implied = rule.action === "allow" && rule.addresses === undefined ? ["public"] : rule.addresses;
  const address = implied === undefined || implied.includes("any") ? undefined : addressTest(implied);
  const concerns = ({ principal, command, client }: Question): boolean =>
    (rule.principals === undefined || matchesPrincipal(rule.principals, principal)) &&
    (rule.commands === undefined || rule.commands.includes(command)) &&
    (clients === undefined || matchesClient(clients, client));
  return {
    action: rule.action,
    namesAddresses,
    ...(address !== undefined && { address }),
    concerns,
    covers: (question) =>
      concerns(question) &&
      (ports === undefined || ports.some(([from, to]) => question.port >= from && question.port <= to)) &&
      (names === undefined || matchesName(names, question.host)),
  };
}

function matchesPrincipal(principals: readonly string[], principal: string | undefined): boolean {
  return principal !== undefined && (principals.includes(principal) || principals.includes("*"));
}

/** An address in text is no name: only a rule about addresses can speak of it. A final dot means the same name. */
function matchesName(names: readonly string[], host: string): boolean {
  if (parseAddress(host) !== undefined) return false;
  const name = host.toLowerCase().replace(/\.$/, "");
  return names.some(
    (one) => one === "*" || one === name || (one.startsWith("*.") && name.endsWith(one.slice(1))),
  );
}

function matchesClient(test: AddressTest, client: string): boolean {
  const bytes = parseAddress(client);
  return bytes !== undefined && test(unmapped(bytes));
}

function addressTest(entries: readonly string[]): AddressTest {
  const tests = entries.map((entry): AddressTest => {
    if (entry === "any") return () => true;
    if (WORDS.includes(entry)) return (address) => groupOf(address) === entry;
    const range = parseRange(entry);
    if (range === undefined) {
      const words = ["any", ...WORDS].join(", ");
      throw invalid(`An address in a rule is a range such as 10.0.0.0/8, or one of ${words}`, entry);
    }
    return (address) => inRange(address, range);
  });
  return (address) => tests.some((test) => test(address));
}

function portRange(port: number | string): readonly [number, number] {
  const parts = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(String(port));
  const from = Number(parts?.[1] ?? Number.NaN);
  const to = Number(parts?.[2] ?? from);
  if (!(from <= to && to <= 0xffff))
    throw invalid(`A port in a rule is a number or a range such as "8000-8099"`, port);
  return [from, to];
}

function invalid(message: string, value: unknown): HoldfastError {
  return new HoldfastError("invalid-argument", `${message}.`, { detail: { value } });
}

type Group = "public" | "private" | "loopback" | "link-local" | "multicast" | "reserved";

/** What kind of address it is (RFC 6890 and its registries). Addresses that carry an IPv4 one count as that one. */
function groupOf(address: Buffer): Group {
  const carried = embedded(address);
  if (carried !== undefined) return groupOf(carried);
  for (const [group, members] of GROUPS) {
    if (members.some((member) => inRange(address, member))) return group;
  }
  return address.length === 16 && !inRange(address, GLOBAL_UNICAST) ? "reserved" : "public";
}

/** The IPv4 destination behind a NAT64 (RFC 6052), 6to4 (RFC 3056) or IPv4-compatible address. */
function embedded(address: Buffer): Buffer | undefined {
  if (address.length === 4) return undefined;
  const plain = unmapped(address);
  if (plain.length === 4) return plain;
  if (inRange(address, NAT64)) return address.subarray(12);
  if (inRange(address, SIX_TO_FOUR)) return address.subarray(2, 6);
  return undefined;
}

function ranges(...texts: readonly string[]): readonly Range[] {
  return texts.map(range);
}

function range(text: string): Range {
  const parsed = parseRange(text);
  if (parsed === undefined) throw invalid("Not an address range", text);
  return parsed;
}

const GLOBAL_UNICAST = range("2000::/3");
const NAT64 = range("64:ff9b::/96");
const SIX_TO_FOUR = range("2002::/16");
/** In the order they are tried; what is in none of them is public. */
const GROUPS: readonly (readonly [Exclude<Group, "public">, readonly Range[]])[] = [
  ["loopback", ranges("127.0.0.0/8", "::1/128")],
  ["private", ranges("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")],
  ["link-local", ranges("169.254.0.0/16", "fe80::/10")],
  ["multicast", ranges("224.0.0.0/4", "ff00::/8")],
  // 0.0.0.0 and :: reach the machine itself on many systems.
  ["reserved", ranges("0.0.0.0/8", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24")],
  ["reserved", ranges("203.0.113.0/24", "240.0.0.0/4", "::/128", "100::/64", "2001:db8::/32")],
];
const WORDS: readonly string[] = ["public", ...new Set(GROUPS.map(([group]) => group))];
