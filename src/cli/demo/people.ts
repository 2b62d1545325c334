import type { Person } from "./part.ts";
import { pick } from "./part.ts";

/** So many different people, all invented. */
export function invent(count: number): readonly Person[] {
  return Array.from({ length: count }, (_, index) => {
    const round = Math.floor(index / NAMES.length);
    const name = `${NAMES[index % NAMES.length]}${round === 0 ? "" : round + 1}`;
    return {
      name,
      computer: `${name.toUpperCase()}-PC`,
      address: `${NETWORKS[index % NETWORKS.length]}.${(index % 250) + 1}`,
      agent: pick(AGENTS),
    };
  });
}

const NAMES = [
  "ada",
  "bruno",
  "chiara",
  "dilan",
  "edda",
  "farid",
  "greta",
  "hugo",
  "ines",
  "jonas",
  "kaya",
  "lucia",
  "mehmet",
  "nora",
  "oskar",
  "paula",
  "quirin",
  "rosa",
  "samir",
  "thea",
] as const;

/** RFC 5737: for examples, nobody's. */
const NETWORKS = ["192.0.2", "198.51.100", "203.0.113"] as const;

const AGENTS = [
  "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
  "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
  "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
] as const;
