/**
 * Bytes that SOCKS clients and servers put on the wire, recorded between real implementations. What the client sent and
 * what came back stand message by message; addresses are loopback.
 */
export interface RecordedExchange {
  readonly what: string;
  readonly client: readonly string[];
  readonly server: readonly string[];
}

export const SOCKS5_EXCHANGES: readonly RecordedExchange[] = [
  {
    what: "an IPv4 address",
    client: ["050100", "050100017f0000019eb1"],
    server: ["0500", "050000017f000001cd57"],
  },
  {
    what: "a name",
    client: ["050100", "05010003096c6f63616c686f73749eb1"],
    server: ["0500", "050000017f000001ecb5"],
  },
  {
    what: "a dotted quad sent as a name",
    client: ["050100", "05010003093132372e302e302e319eb1"],
    server: ["0500", "050000017f0000019d81"],
  },
  {
    what: "an IPv6 address, refused",
    client: ["050100", "0501000400000000000000000000000000000001bfb7"],
    server: ["0500", "0508000400000000000000000000000000000001bfb7"],
  },
  {
    what: "all 255 methods offered",
    client: [`05ff${Array.from({ length: 255 }, (_, at) => at.toString(16).padStart(2, "0")).join("")}`],
    server: ["0500"],
  },
  { what: "an unknown method only", client: ["05017f"], server: ["05ff"] },
  { what: "no method at all", client: ["0500"], server: ["05ff"] },
  { what: "a password only, where none is known", client: ["050102"], server: ["05ff"] },
  {
    what: "something in the reserved byte",
    client: ["050100", "050101017f0000019eb1"],
    server: ["0500", "050000017f000001e921"],
  },
  {
    what: "a closed port",
    client: ["050100", "050100017f000001bfb7"],
    server: ["0500", "050500017f000001c5e1"],
  },
  {
    what: "a name that does not resolve",
    client: ["050100", "05010003146e6f2d737563682d686f73742e696e76616c69640050"],
    server: ["0500", "05040003146e6f2d737563682d686f73742e696e76616c69640050"],
  },
  {
    what: "BIND with both replies",
    client: ["050100", "050200017f0000010000"],
    server: ["0500", "050000017f0000018799", "050000017f000001a122"],
  },
  {
    what: "BIND whose peer is another than expected",
    client: ["050100", "050200017f0000090000"],
    server: ["0500", "050000017f00000198f1", "050200017f00000292f5"],
  },
  {
    what: "UDP ASSOCIATE",
    client: ["050100", "05030001000000000000"],
    server: ["0500", "050000017f000001de70"],
  },
];

export const SOCKS4_EXCHANGES: readonly RecordedExchange[] = [
  { what: "CONNECT", client: ["04019eb17f0000017573657200"], server: ["005ace017f000001"] },
  {
    what: "CONNECT to a name (4a)",
    client: ["04019eb10000000175736572006c6f63616c686f737400"],
    server: ["005b93b17f000001"],
  },
  { what: "CONNECT to a closed port", client: ["0401bfb77f00000100"], server: ["005bbdc57f000001"] },
  { what: "BIND", client: ["040200007f0000017500"], server: ["005ae3557f000001", "005ac22e7f000001"] },
];

/** Requests that must be answered with a failure, or with nothing at all. */
export const BAD_REQUESTS: Readonly<
  Record<"version" | "command" | "addressType" | "emptyName" | "nulInName", string>
> = {
  version: "060100",
  command: "050900017f0000019eb1",
  addressType: "050100027f0000010050",
  emptyName: "05010003000050",
  nulInName: "050100030a6c6f63616c00686f73749eb1",
};
