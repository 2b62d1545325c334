export type { FullReason, TlsMetrics, TlsVersion } from "./metrics.ts";
export type {
  ClientCertificate,
  ClientCertificateRules,
  TlsMode,
  TlsSecret,
  TlsSessionsOptions,
} from "./options.ts";
export { tlsSessions, TlsSessions } from "./server.ts";
export type { AttachOptions, RotateOptions } from "./server.ts";
