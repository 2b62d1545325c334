import type { JsonSchema } from "../schema.ts";
import { spanSchema, tlsSchema, usersSchema } from "../schema.ts";

const names = (description: string): object => ({
  type: "array",
  items: { type: "string", minLength: 1 },
  description: `${description} "*": everybody who may come. That is also what it is when left out.`,
});

export const topicName = {
  type: "string",
  pattern: "^[A-Za-z0-9._-]{1,64}$",
  title: "a name of 1 to 64 letters, digits, dots, dashes and underscores",
} as const;

export const keepSchema = {
  type: "integer",
  minimum: 1,
  maximum: 10_000_000,
  description: "So many of its newest entries are kept. 10000.",
} as const;

const users = usersSchema("Who may come, by name and password. Web logins of the same store may as well.", {
  basic: true,
});

export const dialogSchema: JsonSchema = {
  required: ["topics"],
  properties: {
    topics: {
      type: "array",
      minItems: 1,
      description:
        "What is talked about: numbered entries, of which the newest are kept, for any number of readers and writers.",
      items: {
        type: "object",
        additionalProperties: false,
        required: ["name"],
        properties: {
          name: topicName,
          keep: keepSchema,
          readers: names("Who may read, by name."),
          writers: names("Who may write, by name; []: nobody, as for a topic that a syslog listener writes."),
        },
      },
    },
    tls: { ...tlsSchema, description: "For all its ports. Read again when the files change." },
    "tcp-port": {
      type: "integer",
      minimum: 0,
      maximum: 65535,
      description: "Dialogs over TCP, or TLS, beside WebSockets and event streams. None when left out.",
    },
    users,
    anonymous: {
      type: "boolean",
      description:
        "Whether those who do not say who they are may come. Only without users, and only from this machine, when left out.",
    },
    cookie: {
      type: "string",
      minLength: 1,
      description: "The cookie that a web login is in; __Host-session when left out.",
    },
    origins: {
      type: "array",
      items: { type: "string", pattern: "^https?://[^/]+$" },
      description: "Other sites whose pages may come, as https://app.example.",
    },
    hold: { ...spanSchema, description: "How long a dialog is kept without a connection. 2m." },
    ping: { ...spanSchema, description: "After so long without a sound a peer is asked for one. 15s." },
    limits: {
      type: "object",
      additionalProperties: false,
      properties: {
        message: {
          type: "integer",
          minimum: 1,
          maximum: 16_777_216,
          description: "Bytes of a message. 1048576.",
        },
        handshakes: {
          type: "integer",
          minimum: 1,
          description: "Links that have not opened a dialog yet. 1000.",
        },
        readers: { type: "integer", minimum: 1, description: "Plain event streams at once. 10000." },
      },
    },
  },
};
