import { isIPv4 } from "node:net";
import { HoldfastError } from "../../kernel/index.ts";
import type {
  Backend,
  LengthBits,
  NameService,
  NameServiceLimits,
  NameServiceOptions,
  NetbiosGateway,
  NetbiosLimits,
  NetbiosOptions,
  Route,
  Target,
} from "../../mechanisms/netbios/index.ts";
import { createNameService, createNetbios, formatName } from "../../mechanisms/netbios/index.ts";
import type { ListenerConfig } from "../config.ts";
import type { Listener, ListenerContext, ListenerKind } from "../listener.ts";
import { hostPort } from "../listener.ts";
import { configLimits, configSpan } from "../span.ts";
import { netbiosSchema } from "./netbios-schema.ts";

/** Named sessions in front of SMB servers, each call relayed to the backend of its name; and a name service beside it. */
export const netbios: ListenerKind = {
  defaultPort: 139,
  schema: netbiosSchema,
  async listen(config, context): Promise<Listener> {
    // The schema has checked each of these.
    const written = config as ListenerConfig & NetbiosConfig;
    const { clock } = context.kernel;
    const host = written.host ?? "127.0.0.1";
    const gateway = createNetbios(optionsOf(written, context));
    const at = await gateway.listen({ host, port: written.port ?? netbios.defaultPort });
    const names = await nameServiceOf(written["name-service"], host, gateway, context);
    return {
      name: written.name ?? "netbios",
      mechanism: "netbios",
      address: `netbios://${hostPort(at)}`,
      also: names === undefined ? [] : [`netbios-ns://${names.address}`],
      open: () => gateway.stats().connections,
      async drain(deadlineAt): Promise<void> {
        await names?.service.close();
        await gateway.drain(Math.max(deadlineAt - clock.now(), 0));
      },
      async close(): Promise<void> {
        await names?.service.close();
        await gateway.close();
      },
    };
  },
};

interface NetbiosConfig {
  readonly backends: Readonly<Record<string, BackendConfig>>;
  readonly routes: readonly Route[];
  readonly "any-server"?: Target;
  readonly otherwise?: Target;
  readonly keepalive?: boolean | { readonly every?: string; readonly during?: "idle" | "always" };
  readonly "length-bits"?: LengthBits;
  readonly principal?: "calling-name" | "address" | "none";
  readonly limits?: { readonly [name in keyof typeof LIMITS]?: string | number };
  readonly "name-service"?: NameServiceConfig;
}

type BackendConfig = Omit<Backend, "calledName"> & { readonly "called-name"?: string };

interface NameServiceConfig {
  readonly host?: string;
  readonly port?: number;
  readonly broadcast?: string;
  readonly names?: readonly string[];
  readonly addresses?: readonly string[];
  readonly register?: "none" | "own-address" | "any-address";
  readonly "unit-id"?: string;
  readonly limits?: { readonly [name in keyof typeof NAME_LIMITS]?: string | number };
}

function optionsOf(written: NetbiosConfig, { kernel, limit, log }: ListenerContext): NetbiosOptions {
  const { routes, keepalive, otherwise, principal } = written;
  const anyServer = written["any-server"];
  const lengthBits = written["length-bits"];
  return {
    kernel,
    backends: Object.fromEntries(
      Object.entries(written.backends).map(([id, { "called-name": calledName, ...backend }]) => [
        id,
        { ...backend, ...(calledName !== undefined && { calledName }) },
      ]),
    ),
    routes,
    ...(anyServer !== undefined && { anyServer }),
    ...(otherwise !== undefined && { otherwise }),
    ...(keepalive === false && { keepalive }),
    ...(typeof keepalive === "object" && {
      keepalive: { everyMs: configSpan(keepalive.every, 60_000), during: keepalive.during ?? "idle" },
    }),
    ...(lengthBits !== undefined && { lengthBits }),
    ...(principal !== undefined && { principal }),
    limits: {
      ...configLimits(written.limits, LIMITS),
      ...(limit !== undefined && { perPrincipal: limit.perPrincipal }),
    },
    ...(limit !== undefined && { onLimit: limit.onLimit }),
    onFault: (error) => log.warn({ err: error }, "a fault in the background"),
  };
}

/** The session service is closed again when its name service cannot listen: a gateway starts whole or not at all. */
async function nameServiceOf(
  written: NameServiceConfig | undefined,
  gatewayHost: string,
  gateway: NetbiosGateway,
  context: ListenerContext,
): Promise<{ readonly service: NameService; readonly address: string } | undefined> {
  if (written === undefined) return undefined;
  const { port, broadcast } = written;
  const host = written.host ?? gatewayHost;
  try {
    const service = createNameService(nameOptionsOf(written, gatewayHost, gateway, context));
    try {
      const at = await service.listen({
        host,
        ...(port !== undefined && { port }),
        ...(broadcast !== undefined && { broadcast }),
      });
      return { service, address: hostPort({ host: at.address, port: at.port }) };
    } catch (error) {
      await service.close();
      throw error;
    }
  } catch (error) {
    await gateway.close();
    throw error;
  }
}

function nameOptionsOf(
  written: NameServiceConfig,
  gatewayHost: string,
  gateway: NetbiosGateway,
  { kernel, log }: ListenerContext,
): NameServiceOptions {
  const { addresses = [gatewayHost], names = gateway.names.map(formatName), register, limits } = written;
  if (addresses.some((address) => !isIPv4(address) || address === "0.0.0.0")) {
    throw new HoldfastError(
      "invalid-argument",
      `A name service leads to IPv4 addresses; say in name-service.addresses at which of its own ${gatewayHost} is reached.`,
      { detail: { addresses } },
    );
  }
  const unitId = written["unit-id"];
  return {
    kernel,
    names,
    addresses,
    ...(register !== undefined && { register }),
    ...(unitId !== undefined && { unitId }),
    limits: configLimits(limits, NAME_LIMITS),
    onFault: (error) => log.warn({ err: error }, "a fault of the name service"),
  };
}

const LIMITS = {
  connections: "connections",
  "per-peer": "perPeer",
  "handshakes-per-peer": "handshakesPerPeer",
  handshake: "handshakeMs",
  connect: "connectMs",
  idle: "idleMs",
  absolute: "absoluteMs",
  "max-bytes": "maxBytes",
} as const satisfies Record<string, keyof NetbiosLimits>;

const NAME_LIMITS = {
  names: "names",
  "names-per-address": "namesPerAddress",
  ttl: "ttlMs",
  "per-second": "perSecond",
} as const satisfies Record<string, keyof NameServiceLimits>;
