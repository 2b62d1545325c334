export type { ConnectOptions, NetbiosSession } from "./client.ts";
export { connect } from "./client.ts";
export type { NetbiosName } from "./codec/name.ts";
export { ANY_SERVER, FILE_SERVER, formatName, parseName, WORKSTATION } from "./codec/name.ts";
export type { AddressEntry, NodeType, StatusName } from "./codec/name-service.ts";
export type { LengthBits } from "./codec/session.ts";
export { NEGATIVE, negativeText } from "./codec/session.ts";
export type { KeepaliveRule } from "./machine/flow.ts";
export type { Announcement, Claim, NameAnswer, NameServerAt, NodeStatus } from "./name-service/client.ts";
export {
  announceNames,
  nodeStatus,
  queryName,
  refreshName,
  registerName,
  releaseName,
} from "./name-service/client.ts";
export type { NameService, NameServiceLimits, NameServiceOptions } from "./name-service/server.ts";
export { createNameService } from "./name-service/server.ts";
export type { NetbiosLimits, NetbiosOptions } from "./options.ts";
export type { Backend, Route, RouteOptions, Target } from "./routes.ts";
export type { NetbiosGateway, NetbiosStats } from "./server.ts";
export { createNetbios } from "./server.ts";
export type { Listener, ListenOptions } from "../../transport/listen.ts";
