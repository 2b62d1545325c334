import type { JsonSchema } from "../schema.ts";
import { spanSchema } from "../schema.ts";

const port = { type: "integer", minimum: 1, maximum: 65535 } as const;
const address = {
  type: "string",
  pattern: "^([0-9]{1,3}\\.){3}[0-9]{1,3}$",
  description: "An IPv4 address.",
} as const;
const count = { type: "integer", minimum: 1 } as const;

const name = {
  type: "string",
  pattern: "^[^<>]{1,15}(<[0-9A-Fa-f]{2}>(\\..+)?)?$",
  description:
    "A NetBIOS name: FILESRV, FILESRV<20> or FILESRV<20>.scope; no suffix means <20>, a file server.",
} as const;

/** One of the three, wherever a call is sent. */
const target = {
  backend: { type: "string", minLength: 1, description: "One of backends, by its name." },
  retarget: {
    type: "object",
    additionalProperties: false,
    required: ["address", "port"],
    description: "The caller shall call again there, which Samba's clients do not.",
    properties: { address, port },
  },
  refuse: {
    type: "integer",
    minimum: 0x80,
    maximum: 0x8f,
    description: "An error code of RFC 1002 §4.3.4, such as 0x82, called name not present.",
  },
} as const;

const oneTarget = [{ required: ["backend"] }, { required: ["retarget"] }, { required: ["refuse"] }] as const;

const targetObject = (description: string): JsonSchema => ({
  type: "object",
  additionalProperties: false,
  properties: target,
  oneOf: oneTarget,
  description: `Exactly one of backend, retarget and refuse. ${description}`,
});

const backend = {
  type: "object",
  additionalProperties: false,
  required: ["host"],
  properties: {
    host: { type: "string", minLength: 1 },
    port: { ...port, description: "445 when left out, or 139 when it speaks netbios." },
    speaks: {
      enum: ["direct", "netbios"],
      description:
        "direct: SMB right over TCP; netbios: it wants a session request first. direct when left out.",
    },
    "called-name": {
      ...name,
      description: "With speaks netbios: the name to call it by; the one the client called when left out.",
    },
    retargets: {
      type: "array",
      items: { type: "string", pattern: "^[0-9.]+:[0-9]+$", description: "address:port" },
      description: "With speaks netbios: addresses it may send us on to. None when left out.",
    },
  },
} as const;

const limits = {
  type: "object",
  additionalProperties: false,
  properties: {
    connections: { ...count, description: "Connections at once. 20000." },
    "per-peer": { ...count, description: "Sessions at once from one address. 256." },
    "handshakes-per-peer": {
      ...count,
      description: "Connections from one address that have not yet said whom they call. 64.",
    },
    handshake: { ...spanSchema, description: "Until the session request. 10s." },
    connect: { ...spanSchema, description: "From the session request to the backend's answer. 10s." },
    idle: { ...spanSchema, description: "Without a byte, keepalives not counted. None when left out." },
    absolute: { ...spanSchema, description: "However busy. None when left out." },
    "max-bytes": { ...count, description: "Of one session, both directions together. None when left out." },
  },
} as const;

const nameService = {
  type: "object",
  additionalProperties: false,
  description: "Answers for the listener's names on UDP, so that hosts find it by them.",
  properties: {
    host: { type: "string", minLength: 1, description: "The listener's when left out." },
    port: { ...port, minimum: 0, description: "137 when left out; 0 takes any free port." },
    broadcast: {
      ...address,
      description: "The network's broadcast address, where hosts without a name server ask.",
    },
    names: { type: "array", items: name, description: "Those that have a route when left out." },
    addresses: {
      type: "array",
      minItems: 1,
      items: address,
      description: "What the names lead to; the listener's host when left out.",
    },
    register: {
      enum: ["none", "own-address", "any-address"],
      description: "Whether hosts may register names of their own, as with WINS. none when left out.",
    },
    "unit-id": {
      type: "string",
      pattern: "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$",
      description: "In node status answers, such as 02:00:00:00:00:01. Zeros when left out.",
    },
    limits: {
      type: "object",
      additionalProperties: false,
      properties: {
        names: { ...count, description: "Registered names. 10000." },
        "names-per-address": { ...count, description: "64." },
        ttl: { ...spanSchema, description: "Longest time a registration is kept without a refresh. 1h." },
        "per-second": { ...count, description: "Requests of one address that are answered. 100." },
      },
    },
  },
} as const;

/** What a listener of named sessions takes. */
export const netbiosSchema: JsonSchema = {
  required: ["backends", "routes"],
  properties: {
    backends: {
      type: "object",
      minProperties: 1,
      additionalProperties: backend,
      description: "SMB servers, by a name of your own.",
    },
    routes: {
      type: "array",
      description: "By called name; the first that lets the caller in wins.",
      items: {
        type: "object",
        additionalProperties: false,
        required: ["called"],
        properties: {
          called: name,
          callers: {
            type: "array",
            items: name,
            description: "Calling names that may; all when left out. It is what callers say, not a proof.",
          },
          ...target,
        },
        oneOf: oneTarget,
        description: "A route with a called name and exactly one of backend, retarget and refuse.",
      },
    },
    "any-server": targetObject("For *SMBSERVER, the name of clients that know none. Refused when left out."),
    otherwise: targetObject("For names without a route. Refused (0x82) when left out."),
    keepalive: {
      type: ["boolean", "object"],
      additionalProperties: false,
      description: "false: none are sent. Every 60s of silence when left out.",
      properties: {
        every: { ...spanSchema, description: "60s." },
        during: {
          enum: ["idle", "always"],
          description: "always: between messages of busy sessions too. idle when left out.",
        },
      },
    },
    "length-bits": { enum: [17, 24], description: "17 is RFC 1002 to the letter. 24 when left out." },
    principal: {
      enum: ["calling-name", "address", "none"],
      description: "Whom a session belongs to; nothing of it is proved. calling-name when left out.",
    },
    limits,
    "name-service": nameService,
  },
};
