import type { JsonSchema } from "../schema.ts";
import { spanSchema, usersSchema } from "../schema.ts";

const bytes = { type: "integer", minimum: 1 } as const;
const count = { type: "integer", minimum: 1 } as const;

const limits = {
  type: "object",
  additionalProperties: false,
  properties: {
    "max-bytes": { ...bytes, description: "Of one upload. 1 TiB." },
    "max-request-bytes": {
      ...bytes,
      description:
        "Of one request, where a proxy in front has a limit; clients are told. None when left out.",
    },
    "open-uploads": { ...count, description: "Unfinished uploads of one principal. 1000." },
    "reserved-bytes": {
      ...bytes,
      description: "That one principal's unfinished uploads may add up to. None when left out.",
    },
    "metadata-bytes": { ...bytes, description: "Of what a client says about a file. 8192." },
    "keep-free": {
      type: "integer",
      minimum: 0,
      description: "Room to leave on the disk, in bytes. 256 MiB.",
    },
    expires: { ...spanSchema, description: "An unfinished upload goes after this long without a byte. 24h." },
    "max-age": { ...spanSchema, description: "An unfinished upload goes after this, whatever arrives. 7d." },
    idle: { ...spanSchema, description: "A request that stands still for so long is ended. 1m." },
    "min-rate": {
      type: "integer",
      minimum: 0,
      description: "Bytes a second that a request has to come at, measured over idle. 0.",
    },
    "commit-bytes": {
      ...bytes,
      description: "What arrives is made durable at least every so many bytes. 8 MiB.",
    },
    "commit-every": { ...spanSchema, description: "And at least so often. 1s." },
    grace: { ...spanSchema, description: "Until the bytes of a removed upload are freed. 1h." },
    forget: { ...spanSchema, description: "Until a removed upload is unknown rather than gone. 7d." },
  },
} as const;

/** What a listener of uploads takes. */
export const transferSchema: JsonSchema = {
  properties: {
    tls: {
      type: "object",
      additionalProperties: false,
      required: ["cert", "key"],
      description: "PEM files; read again when they change. Without it, plain HTTP.",
      properties: {
        cert: { type: "string", description: "The certificate and its chain." },
        key: { type: "string", description: "The private key." },
      },
    },
    folder: {
      type: "string",
      minLength: 1,
      description:
        "Where uploads are kept, with their checkpoints. uploads in the data folder when left out. Several gateways that share a store share it.",
    },
    deliver: {
      type: "string",
      minLength: 1,
      description:
        "A folder on the same file system in which finished files appear under their own names, read-only.",
    },
    path: {
      type: "string",
      pattern: "^/[A-Za-z0-9._~/-]*[A-Za-z0-9._~-]$",
      description: "Where uploads are made; each is one segment below it. /files.",
    },
    "public-origin": {
      type: "string",
      pattern: "^https?://[^/]+$",
      description: "What upload addresses begin with, if a proxy stands in front.",
    },
    users: usersSchema("Who may come with a name and a password (HTTP Basic).", { basic: true }),
    tokens: {
      type: "array",
      minItems: 1,
      description: "Programs that may come with a token (HTTP Bearer).",
      items: {
        type: "object",
        additionalProperties: false,
        required: ["name", "token"],
        properties: {
          name: { type: "string", minLength: 1, description: "The principal of its uploads." },
          token: {
            type: "string",
            minLength: 16,
            description: "At least 16 characters; ${NAME} takes it from the environment.",
          },
        },
      },
    },
    web: {
      type: "object",
      additionalProperties: false,
      description:
        "Whoever has a web session of this store may upload; the upload belongs under it and ends with it.",
      properties: {
        cookie: {
          type: "string",
          minLength: 1,
          description: "The cookie's name; __Host-session when left out.",
        },
        bearer: { type: "boolean", description: "Also take Authorization: Bearer." },
      },
    },
    anonymous: {
      type: "boolean",
      description:
        "Whether everybody may upload. True without users, tokens and web, and then only from this machine; it must be said for an address other than the loopback.",
    },
    origins: {
      type: "array",
      minItems: 1,
      items: { type: "string", pattern: "^https?://[^/]+$" },
      description: "Web sites whose pages may upload here. Only its own when left out.",
    },
    downloads: {
      type: "boolean",
      description: "Whether finished uploads can be fetched from their address. True when left out.",
    },
    interim: {
      type: "boolean",
      description: "104 responses; say false behind a proxy that hangs on them. True when left out.",
    },
    limits,
  },
};
