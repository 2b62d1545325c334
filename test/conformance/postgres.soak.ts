import { postgresConformance } from "./postgres-suite.ts";

postgresConformance(10_000);
