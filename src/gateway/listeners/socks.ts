import { HoldfastError } from "../../kernel/index.ts";
import type { Rule, SocksLimits, SocksOptions, User } from "../../mechanisms/socks/index.ts";
import { createSocks, DEFAULT_RULES } from "../../mechanisms/socks/index.ts";
import type { ListenerConfig } from "../config.ts";
import type { Listener, ListenerContext, ListenerKind } from "../listener.ts";
import { hostPort, isLoopback } from "../listener.ts";
import { spanSchema, usersSchema } from "../schema.ts";
import { configLimits } from "../span.ts";

const texts = (description: string): object => ({
  type: "array",
  minItems: 1,
  items: { type: "string", minLength: 1 },
  description,
});

const rule = {
  type: "object",
  additionalProperties: false,
  required: ["action"],
  description: "All conditions of a rule must hold; of a list, one is enough.",
  properties: {
    action: { enum: ["allow", "deny"] },
    principals: texts('Users by name; "*": whoever has proved who they are. Everybody when left out.'),
    commands: {
      type: "array",
      minItems: 1,
      items: { enum: ["connect", "bind", "associate"] },
      description: "associate is UDP. All when left out.",
    },
    clients: texts("Where the client comes from, said as in addresses."),
    names: texts("The destination as it was named: example.com, *.example.com for anything under it, or *."),
    addresses: texts(
      "The destination's address after resolving: ranges such as 10.0.0.0/8, public, private, loopback, link-local, multicast, reserved, or any. A rule that allows and does not say covers public addresses only.",
    ),
    ports: {
      type: "array",
      minItems: 1,
      items: {
        type: ["integer", "string"],
        minimum: 0,
        maximum: 65535,
        pattern: "^[0-9]{1,5}(-[0-9]{1,5})?$",
        description: 'A port, or a range such as "8000-8099".',
      },
    },
  },
} as const;

/** A SOCKS proxy, versions 4, 4a and 5, whose every relay is a session. */
export const socks: ListenerKind = {
  defaultPort: 1080,
  schema: {
    properties: {
      versions: {
        type: "array",
        minItems: 1,
        uniqueItems: true,
        items: { enum: [4, 5] },
        description: "4 means 4a too. Both when left out.",
      },
      users: usersSchema("Who may come. Without any, everybody may, and only from this machine.", {
        basic: false,
      }),
      anonymous: {
        type: "boolean",
        description:
          "Whether clients without a password may come. False when there are users. Without users it must be said for an address other than the loopback.",
      },
      rules: {
        type: "array",
        items: rule,
        description:
          "Who may go where: the first rule that matches decides, and without one it is denied. Everybody to public addresses when left out.",
      },
      bind: { type: "boolean", description: "BIND, for connections back to the client. True when left out." },
      udp: { type: "boolean", description: "UDP ASSOCIATE. True when left out." },
      upstream: {
        type: "array",
        minItems: 1,
        items: {
          type: "string",
          pattern: "^(socks|socks4|socks4a|socks5|socks5h|http)://.",
          description: "A proxy as a URL, such as socks5://user:${PASSWORD}@192.0.2.1:1080.",
        },
        description: "The proxies to go through, one after the other.",
      },
      "upstream-resolves": {
        type: "boolean",
        description: "Names go upstream as they are; rules about addresses are then passed over.",
      },
      "outer-host": {
        type: "string",
        minLength: 1,
        description: "The local address for BIND's and UDP's ports towards destinations.",
      },
      limits: {
        type: "object",
        additionalProperties: false,
        properties: {
          handshake: { ...spanSchema, description: "Until the request is complete. 15s." },
          connect: { ...spanSchema, description: "For reaching the destination. 30s." },
          bind: { ...spanSchema, description: "For a BIND's peer to come. 2m." },
          idle: { ...spanSchema, description: "Without a byte in either direction. 30m." },
          absolute: { ...spanSchema, description: "However busy. None when left out." },
          "max-bytes": {
            type: "integer",
            minimum: 1,
            description: "Passed on by one session, both directions together. None when left out.",
          },
          connections: {
            type: "integer",
            minimum: 1,
            description: "Client connections at once, handshakes included. 20000.",
          },
        },
      },
    },
  },
  async listen(config, context): Promise<Listener> {
    const { kernel } = context;
    const host = config.host ?? "127.0.0.1";
    const options = optionsOf(config, context);
    if (options.users === undefined && options.anonymous === undefined && !isLoopback(host)) {
      throw new HoldfastError(
        "invalid-argument",
        `A SOCKS listener on ${host} needs users; "anonymous: true" opens it to everybody who reaches it.`,
        { detail: { host } },
      );
    }
    const server = createSocks(options);
    const at = await server.listen({ host, port: config.port ?? socks.defaultPort });
    return {
      name: config.name ?? "socks",
      mechanism: "socks",
      address: `socks5://${hostPort(at)}`,
      open: () => server.connections,
      drain: (deadlineAt) => server.drain(Math.max(deadlineAt - kernel.clock.now(), 0)),
      close: () => server.close(),
    };
  },
};

interface SocksConfig {
  readonly versions?: readonly (4 | 5)[];
  readonly users?: readonly User[];
  readonly anonymous?: boolean;
  readonly rules?: readonly Rule[];
  readonly bind?: boolean;
  readonly udp?: boolean;
  readonly upstream?: readonly string[];
  readonly "upstream-resolves"?: boolean;
  readonly "outer-host"?: string;
  readonly limits?: { readonly [name in keyof typeof LIMITS]?: string | number };
}

function optionsOf(config: ListenerConfig, { kernel, limit, log }: ListenerContext): SocksOptions {
  // The schema has checked each of these.
  const written = config as ListenerConfig & SocksConfig;
  const { versions, users, anonymous, upstream } = written;
  const resolves = written["upstream-resolves"];
  const outerHost = written["outer-host"];
  return {
    kernel,
    ...(versions !== undefined && { versions }),
    ...(users !== undefined && { users }),
    ...(anonymous !== undefined && { anonymous }),
    rules: [...switchedOff(written), ...(written.rules ?? DEFAULT_RULES)],
    ...(upstream !== undefined && { upstream }),
    ...(resolves !== undefined && { upstreamResolves: resolves }),
    ...(outerHost !== undefined && { outerHost }),
    ...(limit !== undefined && { principalLimit: limit }),
    limits: configLimits(written.limits, LIMITS),
    onFault: (error) => log.warn({ err: error }, "a fault in the background"),
  };
}

/** Before all others, so that no rule of the file can bring back what its switch takes away. */
function switchedOff({ bind, udp }: SocksConfig): Rule[] {
  return [
    ...(bind === false ? [{ action: "deny", commands: ["bind"] } as const] : []),
    ...(udp === false ? [{ action: "deny", commands: ["associate"] } as const] : []),
  ];
}

const LIMITS = {
  handshake: "handshakeMs",
  connect: "connectMs",
  bind: "bindMs",
  idle: "idleMs",
  absolute: "absoluteMs",
  "max-bytes": "maxBytes",
  connections: "connections",
} as const satisfies Record<string, keyof SocksLimits>;
