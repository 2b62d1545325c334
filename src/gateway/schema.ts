/** The configuration's JSON Schema (2020-12): what is published in docs/, and what every file is held against. */

const span = {
  type: "string",
  pattern: "^[0-9]+(\\.[0-9]+)?(ms|s|m|h|d)$",
  title: 'a span of time: a number with ms, s, m, h or d, such as "30m"',
} as const;

const port = { type: "integer", minimum: 0, maximum: 65535, description: "0 takes any free port." } as const;

const host = { type: "string", minLength: 1, description: "The address to listen on." } as const;

const tls = {
  type: "object",
  additionalProperties: false,
  required: ["cert", "key"],
  description:
    "Serve over TLS. The files are read again when they change, and on SIGHUP; sessions resume all the same.",
  properties: {
    cert: { type: "string", description: "PEM file with the certificate and its chain." },
    key: { type: "string", description: "PEM file with the private key." },
    "client-ca": {
      type: "string",
      description:
        "PEM file with the authorities of clients' certificates. With it, only clients with a certificate of theirs are let in, whether they resume or not.",
    },
  },
} as const;

const tlsSessions = {
  type: "object",
  additionalProperties: false,
  description: "How TLS sessions resume, on the admin port and on all listeners that have a certificate.",
  properties: {
    mode: {
      enum: ["ticket", "cache", "both", "off"],
      description:
        "Where a session is kept: with the client, sealed in a ticket; in the store, under an ID; each client as it can; or nowhere. ticket when left out.",
    },
    cluster: {
      type: "string",
      minLength: 1,
      description:
        "Gateways with the same name here and the same secret take each other's sessions. holdfast when left out.",
    },
    secret: {
      type: "string",
      minLength: 32,
      writeOnly: true,
      title: 'a secret of at least 32 characters, such as "openssl rand -base64 32" prints',
      description:
        "What keys are made from, the same on every node. ${NAME} is taken from the environment. Whoever holds it can read what its keys protect.",
    },
    "secret-file": {
      type: "string",
      minLength: 1,
      description:
        "A file with the secret, in place of it. Read again on SIGHUP: the new one is accepted at once and made use of from the next epoch on.",
    },
    keys: {
      enum: ["derived", "ratchet", "random"],
      description:
        "Where each epoch's keys come from: from the secret alone; each from the one before, which is erased; or new ones. The latter two are shared through the store, and the secret alone does not open what they have sealed. derived when left out.",
    },
    epoch: { ...span, description: "How long a key is in use. Every node changes it at the same time. 12h." },
    "max-ticket-age": {
      ...span,
      description: "For how long what a client was given may be used, 7d at most. 6h.",
    },
    "max-chain-age": {
      ...span,
      description: "For how long after a full handshake one resumption may follow another. 24h.",
    },
    "single-use": {
      type: "boolean",
      description: "A ticket is taken once, which costs a write in the store each time. False when left out.",
    },
    "max-entries": {
      type: "integer",
      minimum: 1,
      description:
        "Sessions, and notes of used tickets, that this node keeps in the store for each port. 20000.",
    },
  },
  allOf: [
    {
      not: { required: ["secret", "secret-file"] },
      writeOnly: true,
      title: 'given either "secret" or "secret-file"',
    },
  ],
} as const;

const store = {
  type: "object",
  required: ["kind"],
  properties: {
    kind: { enum: ["lmdb", "memory", "redis", "postgres"], description: "Where sessions are kept." },
    path: { type: "string", description: "lmdb: the folder; the data folder when left out." },
    url: {
      type: "string",
      description: "redis, postgres: where the server is. ${NAME} is taken from the environment.",
    },
    "near-cache": {
      type: "integer",
      minimum: 0,
      description: "Sessions kept in memory in front of it; 0: none. 100000 when left out.",
    },
  },
  additionalProperties: false,
} as const;

const limits = {
  type: "array",
  description: "Limits by mechanism, over what its listener or an application asks for.",
  items: {
    type: "object",
    additionalProperties: false,
    required: ["mechanism"],
    properties: {
      mechanism: { type: "string" },
      "per-principal": { type: "integer", minimum: 1, description: "Live sessions one principal may have." },
      "on-limit": {
        enum: ["refuse", "evict-oldest"],
        description: "What gives way: the newcomer (refuse) when left out.",
      },
      principals: {
        type: "object",
        additionalProperties: { type: "integer", minimum: 0 },
        description: "The same for single principals, by name; 0 takes none at all.",
      },
      idle: { ...span, description: "A session ends after this long without use." },
      absolute: { ...span, description: "A session ends after this long whatever happens." },
      resumable: { ...span, description: "How long a session may wait for its peer to come back." },
      "retain-ended": {
        ...span,
        description: "How long an ended one is remembered, in the place of policy.retain-ended.",
      },
    },
  },
} as const;

/** What every listener has; the rest is its mechanism's. */
const listenerBase = {
  name: { type: "string", minLength: 1, description: "For logs, metrics and the console." },
  host,
  port,
} as const;

export type JsonSchema = { readonly [key: string]: unknown };

/** `kinds`: what each mechanism's listener takes, by its name. */
export function configSchema(kinds: Readonly<Record<string, JsonSchema>>): JsonSchema {
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Holdfast gateway configuration",
    type: "object",
    additionalProperties: false,
    properties: {
      node: {
        type: "string",
        minLength: 1,
        description: "This process's name, unique among those that share the store. Made up when left out.",
      },
      data: { type: "string", description: "Folder for what belongs to this gateway. ./data when left out." },
      store,
      admin: {
        type: "object",
        additionalProperties: false,
        description: "The console, its API, metrics and health.",
        properties: {
          host,
          port,
          tls,
          origin: {
            type: "string",
            pattern: "^https?://[^/]+$",
            description: "Where browsers reach it, if a proxy stands in front.",
          },
          exposed: {
            const: true,
            description:
              "Listen on another address than the loopback without TLS: say it only behind a proxy that has it.",
          },
        },
      },
      "tls-sessions": tlsSessions,
      log: {
        type: "object",
        additionalProperties: false,
        properties: { level: { enum: ["fatal", "error", "warn", "info", "debug", "trace", "silent"] } },
      },
      policy: {
        type: "object",
        additionalProperties: false,
        properties: {
          lease: { ...span, description: "A node silent for this long is taken for dead. 5s." },
          "retain-ended": { ...span, description: "How long an ended session is remembered. 24h." },
          receipt: {
            ...span,
            description: "How long a revocation waits for a connection to be reported closed. 5s.",
          },
        },
      },
      limits,
      drain: {
        ...span,
        description:
          "How long stopping may take: peers are told, what can be resumed is suspended, the rest is ended. 10s.",
      },
      listeners: {
        type: "array",
        items: {
          type: "object",
          required: ["mechanism"],
          properties: { mechanism: { enum: Object.keys(kinds) } },
          allOf: Object.entries(kinds).map(([mechanism, schema]) => ({
            if: { properties: { mechanism: { const: mechanism } } },
            // oxlint-disable-next-line unicorn/no-thenable -- JSON Schema's own word
            then: {
              ...schema,
              additionalProperties: false,
              properties: {
                mechanism: { const: mechanism },
                ...listenerBase,
                ...(schema["properties"] as object | undefined),
              },
            },
          })),
        },
      },
    },
  };
}

export { span as spanSchema, tls as tlsSchema };

/** People with passwords. `basic`: they say who they are by HTTP Basic, where a name ends at the first colon. */
export function usersSchema(description: string, { basic }: { basic: boolean }): JsonSchema {
  return {
    type: "array",
    description,
    ...(basic && { minItems: 1 }),
    items: {
      type: "object",
      additionalProperties: false,
      required: ["name", "hash"],
      properties: {
        name: { type: "string", minLength: 1, ...(basic && { pattern: "^[^:]+$" }) },
        hash: {
          type: "string",
          pattern: "^scrypt\\$",
          description: 'What "holdfast password" makes of a password: scrypt$N$r$p$salt$hash.',
        },
      },
    },
  };
}
