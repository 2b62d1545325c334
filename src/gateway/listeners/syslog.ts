import { setTimeout as sleep } from "node:timers/promises";
import { isHoldfastError } from "../../kernel/index.ts";
import type { Feed } from "../../mechanisms/dialog/index.ts";
import type { Syslog, SyslogMessage, SyslogOrigin } from "../../mechanisms/syslog/index.ts";
import { createSyslog, FACILITIES, SEVERITIES } from "../../mechanisms/syslog/index.ts";
import type { Certificate } from "../certificate.ts";
import type { ListenerConfig, TlsConfig } from "../config.ts";
import type { Listener, ListenerContext, ListenerKind } from "../listener.ts";
import { hostPort } from "../listener.ts";
import { spanSchema, tlsSchema } from "../schema.ts";
import { configSpan } from "../span.ts";
import { keepSchema, topicName } from "./dialog-schema.ts";

const port = { type: "integer", minimum: 0, maximum: 65535 } as const;

/** Takes syslog messages, and makes a topic of them that a dialog listener lets people read. */
export const syslog: ListenerKind = {
  defaultPort: 5514,
  schema: {
    properties: {
      transports: {
        type: "array",
        minItems: 1,
        uniqueItems: true,
        items: { enum: ["udp", "tcp"] },
        description: "What comes to the port. Both when left out.",
      },
      "tls-port": { ...port, description: "Syslog over TLS. None when left out." },
      tls: { ...tlsSchema, description: "For the TLS port. Read again when the files change." },
      topic: { ...topicName, description: 'The topic they are added to; "syslog" when left out.' },
      keep: keepSchema,
      idle: { ...spanSchema, description: "After so long without a message a sender is forgotten. 10m." },
      limits: {
        type: "object",
        additionalProperties: false,
        properties: {
          message: { type: "integer", minimum: 480, description: "Bytes of a message. 65536." },
          connections: { type: "integer", minimum: 1, description: "TCP and TLS connections at once. 1000." },
          sources: { type: "integer", minimum: 1, description: "Addresses that datagrams come from. 1000." },
        },
      },
    },
    dependentRequired: { "tls-port": ["tls"] },
  },
  async listen(config, context): Promise<Listener> {
    // The schema has checked each of these.
    const written = config as ListenerConfig & SyslogConfig;
    const host = written.host ?? "127.0.0.1";
    const certificate = written.tls === undefined ? undefined : context.tls.certificate(written.tls);
    const closing = new AbortController();
    const receiver = receiverOf(written, context, closing.signal);
    const close = async (): Promise<void> => {
      closing.abort();
      await receiver.close();
    };
    try {
      const addresses = await listen(receiver, host, written, certificate);
      return {
        name: written.name ?? "syslog",
        mechanism: "syslog",
        address: addresses[0] ?? "",
        also: addresses.slice(1),
        open: () => receiver.senders,
        // Its peers do not wait for an answer, and there is nothing that could be said to them.
        drain: close,
        close,
      };
    } catch (error) {
      await close();
      throw error;
    }
  },
};

interface SyslogConfig {
  readonly transports?: readonly ("udp" | "tcp")[];
  readonly "tls-port"?: number;
  readonly tls?: TlsConfig;
  readonly topic?: string;
  readonly keep?: number;
  readonly idle?: string;
  readonly limits?: { readonly message?: number; readonly connections?: number; readonly sources?: number };
}

function receiverOf(
  config: SyslogConfig,
  { kernel, log, topics }: ListenerContext,
  closing: AbortSignal,
): Syslog {
  const feed = topics.feed(config.topic ?? "syslog", config.keep);
  const { message, connections, sources } = config.limits ?? {};
  return createSyslog({
    kernel,
    deliver: (received, origin) => kept(feed, lineOf(received, origin), closing),
    idleMs: configSpan(config.idle, 600_000),
    ...(message !== undefined && { maxMessageBytes: message }),
    ...(connections !== undefined && { connections }),
    ...(sources !== undefined && { sources }),
    onFault: (error) => log.warn({ err: error }, "a message was not kept"),
  });
}

/** While the store is away its senders wait, as far as they can: what was received is not given up before this stops. */
async function kept(feed: Feed, line: string, closing: AbortSignal): Promise<void> {
  for (;;) {
    try {
      await feed.publish(line);
      return;
    } catch (error) {
      if (closing.aborted || !isHoldfastError(error, "store-unavailable")) throw error;
      await sleep(AGAIN_MS, undefined, { signal: closing }).catch(() => undefined);
    }
  }
}

/** One line of JSON, with what is absent left out. */
function lineOf(message: SyslogMessage, { address, certificate }: SyslogOrigin): string {
  const { facility, severity, timestamp, host, app, process, messageId, structured, text } = message;
  const data = Object.fromEntries(structured.map(({ id, params }) => [id, Object.fromEntries(params)]));
  return JSON.stringify({
    received: new Date().toISOString(),
    from: certificate ?? address,
    facility: FACILITIES[facility],
    severity: SEVERITIES[severity],
    timestamp,
    host,
    app,
    process,
    messageId,
    ...(structured.length > 0 && { data }),
    text,
  });
}

const AGAIN_MS = 200;

async function listen(
  receiver: Syslog,
  host: string,
  config: ListenerConfig & SyslogConfig,
  certificate: Certificate | undefined,
): Promise<string[]> {
  const { transports = ["udp", "tcp"], port: wanted = syslog.defaultPort } = config;
  const addresses: string[] = [];
  let at = wanted;
  if (transports.includes("tcp")) {
    at = (await receiver.listenTcp({ host, port: wanted })).port;
    addresses.push(`syslog+tcp://${hostPort({ host, port: at })}`);
  }
  if (transports.includes("udp"))
    addresses.push(`syslog+udp://${hostPort({ host, port: await receiver.listenUdp({ host, port: at }) })}`);
  if (config["tls-port"] !== undefined && certificate !== undefined) {
    const secure = await receiver.listenTcp({ host, port: config["tls-port"], tls: certificate.options });
    certificate.onChange((pair) => secure.renew(pair));
    addresses.push(`syslog+tls://${hostPort({ host, port: secure.port })}`);
  }
  return addresses;
}
