/**
 * The configuration as JSON Schema (draft 2020-12). `title` says in words what is expected, for messages; the reference
 * in docs/gateway.md is drawn from the `description`s.
 */
export interface Schema {
  readonly [keyword: string]: unknown;
}

export const span: Schema = {
  title: 'a span such as "500ms", "30s", "15m", "12h", "7d", or milliseconds',
  anyOf: [
    { type: "integer", minimum: 1 },
    { type: "string", pattern: "^\\d+(\\.\\d+)?(ms|s|m|h|d)$" },
  ],
};

export const port: Schema = {
  type: "integer",
  minimum: 0,
  maximum: 65_535,
  title: "a port, 0 for a free one",
};
export const text: Schema = { type: "string", minLength: 1, title: "a text" };
export const count: Schema = { type: "integer", minimum: 1, title: "a whole number above 0" };

export const tls: Schema = object(
  {
    certificate: described(text, "File with the certificate and its chain, PEM. Read again when it changes."),
    key: described(text, "File with its private key, PEM."),
    minVersion: described({ enum: ["TLSv1.2", "TLSv1.3"] }, "`TLSv1.2` unless given."),
  },
  ["certificate", "key"],
);

/** The members every listener has. */
export function listenerSchema(
  mechanism: string,
  properties: Readonly<Record<string, Schema>>,
  required: readonly string[] = [],
): Schema {
  return object(
    {
      mechanism: { const: mechanism },
      name: described(NAME, "What the console and the metrics call it; the mechanism's name unless given."),
      host: described(text, "The address to listen on; `127.0.0.1` unless given."),
      port: described(port, "The port to listen on; 0 takes a free one."),
      ...properties,
    },
    ["mechanism", ...required],
  );
}

export function object(
  properties: Readonly<Record<string, Schema>>,
  required: readonly string[] = [],
): Schema {
  return {
    type: "object",
    title: "a mapping",
    properties,
    additionalProperties: false,
    ...(required.length > 0 && { required }),
  };
}

export function described(schema: Schema, description: string): Schema {
  return { ...schema, description };
}

/** The whole, for the kinds of listeners there are: by mechanism, the schema of one listener. */
export function configSchema(listeners: Readonly<Record<string, Schema>>): Schema {
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Holdfast's configuration",
    description: "What `holdfast up` reads: holdfast.yaml.",
    type: "object",
    properties: {
      node: described(
        NAME,
        "This process's name; unique among live ones. Host name and process id unless given.",
      ),
      data: described(text, "Folder for what the gateway keeps on this machine; `data` unless given."),
      store: described(
        variants("kind", STORES),
        "Where sessions live; LMDB in the data folder unless given.",
      ),
      policy: described(POLICY, "Limits that hold whatever a mechanism asks for."),
      admin: described(ADMIN, "The HTTP server of console, admin API, metrics and health."),
      log: described(LOG, "JSON lines on standard error unless a file is given."),
      drain: described(span, "How long a stop waits for what is open; `30s` unless given."),
      listeners: described(
        { type: "array", title: "a list of listeners", items: variants("mechanism", listeners) },
        "What is served. One `web` listener on port 7080 unless given.",
      ),
    },
    additionalProperties: false,
  };
}

/** One of several mappings, told apart by a member. */
function variants(by: string, schemas: Readonly<Record<string, Schema>>): Schema {
  return {
    type: "object",
    title: "a mapping",
    required: [by],
    properties: { [by]: { enum: Object.keys(schemas) } },
    allOf: Object.entries(schemas).map(([name, schema]) => ({
      if: { properties: { [by]: { const: name } }, required: [by] },
      then: schema,
    })),
  };
}

const NAME: Schema = {
  type: "string",
  pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
  title: "a name of letters, digits, dots, dashes and underscores",
};

const CACHE = described(
  { anyOf: [{ type: "integer", minimum: 1 }, { const: false }], title: "a number of records, or false" },
  "Live records held in this process's memory, kept coherent by the store's feed; 100000 unless given, `false` for none.",
);
const TIMEOUT = described(
  span,
  "How long a call may take before it is refused; 250ms unless given, 5s for LMDB's writes.",
);

const STORES: Readonly<Record<string, Schema>> = {
  memory: object({ kind: { const: "memory" }, nearCache: CACHE, timeout: TIMEOUT }, ["kind"]),
  lmdb: object(
    {
      kind: { const: "lmdb" },
      path: described(
        text,
        "The folder; the data folder unless given. Processes of one machine may share it.",
      ),
      nearCache: CACHE,
      timeout: TIMEOUT,
    },
    ["kind"],
  ),
  redis: object(
    {
      kind: { const: "redis" },
      url: described(
        { ...text, pattern: "^(rediss?://|/)", title: 'an address such as "redis://127.0.0.1:6379"' },
        "Redis 7 or Valkey: `redis://`, `rediss://` (TLS), or the path of a socket.",
      ),
      prefix: described(
        { type: "string", pattern: "^[\\w.:-]{1,64}$", title: "up to 64 letters, digits and .:_-" },
        "Begins every key; `hf` unless given.",
      ),
      nearCache: CACHE,
      timeout: TIMEOUT,
    },
    ["kind", "url"],
  ),
  postgres: object(
    {
      kind: { const: "postgres" },
      url: described(
        {
          ...text,
          pattern: "^postgres(ql)?://",
          title: 'an address such as "postgres://user@host/database"',
        },
        "PostgreSQL 13 or later.",
      ),
      schema: described(
        {
          type: "string",
          pattern: "^(?!pg_)[a-z_][a-z0-9_]{0,62}$",
          title: "small letters, digits and _, not pg_…",
        },
        "The schema everything is kept in; `holdfast` unless given.",
      ),
      connections: described(count, "Connections at most; 10 unless given."),
      migrate: described(
        { type: "boolean", title: "true or false" },
        "False: never change the schema, refuse to start when it is not this release's.",
      ),
      nearCache: CACHE,
      timeout: TIMEOUT,
    },
    ["kind", "url"],
  ),
};

const MECHANISM: Schema = object({
  idle: described(span, "A session ends after this long without use, if its mechanism would give it longer."),
  absolute: described(span, "A session ends after this long whatever happens."),
  resumable: described(span, "How long a session may wait for its peer to come back."),
  perPrincipal: described(count, "Live sessions one principal may have."),
  principals: described(
    {
      type: "object",
      title: "a mapping of principals to numbers",
      additionalProperties: { type: "integer", minimum: 0, title: "a whole number" },
    },
    "The same for single principals; 0 takes none at all.",
  ),
  onLimit: described(
    { enum: ["refuse", "evict-oldest"] },
    "What gives way: the newcomer (`refuse`) unless given.",
  ),
});

const POLICY: Schema = object({
  lease: described(
    span,
    "A process silent for this long is taken for dead; one that is cut off closes its connections within it. `5s`.",
  ),
  receipt: described(span, "How long a revocation waits for connections to be reported closed. `5s`."),
  retainEnded: described(
    span,
    "How long an ended session is remembered, so that late use is recognised. `24h`.",
  ),
  dataBytes: described(count, "Largest `data` of one session in bytes of JSON. 262144."),
  mechanisms: described(
    { type: "object", title: "a mapping of mechanisms", additionalProperties: MECHANISM },
    "Limits by mechanism (`web`, `socks`, …), over what the mechanism asks for.",
  ),
});

const ADMIN: Schema = object({
  host: described(text, "`127.0.0.1` unless given. Another address needs `tls`, or `withoutTls`."),
  port: described(port, "`7070` unless given."),
  origin: described(
    { type: "string", pattern: "^https?://[^/]+$", title: 'an origin such as "https://holdfast.example"' },
    "How browsers reach it, when that is not its own address: behind a proxy.",
  ),
  tls,
  withoutTls: described(
    text,
    "Why it may listen beyond the loopback without TLS, in words; without them it refuses to.",
  ),
});

const LOG: Schema = object({
  level: described(
    { enum: ["trace", "debug", "info", "warn", "error", "silent"] },
    "`info` unless given; a reload changes it.",
  ),
  file: described(text, "A file instead of standard error; opened again on a reload."),
});
