/** Each way to keep sessions that is measured; named after the server it stands on, where that is not node:http. */
export const VARIANTS = [
  "holdfast-memory",
  "holdfast-lmdb",
  "holdfast-redis",
  "iron-session",
  "express-holdfast-memory",
  "express-session-memory",
  "express-session-redis",
  "fastify-holdfast-memory",
  "fastify-session-memory",
] as const;
export type Variant = (typeof VARIANTS)[number];

export type Base = "node" | "express" | "fastify";

export function baseOf(variant: string): Base {
  if (variant.startsWith("express-")) return "express";
  return variant.startsWith("fastify-") ? "fastify" : "node";
}
