import { postgresConformance } from "./postgres-suite.ts";

postgresConformance(2_000);
