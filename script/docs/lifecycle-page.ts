import {
  ABRUPT_REASONS,
  GRACEFUL_REASONS,
  LIFECYCLE,
  PHASES,
  lifecycleDiagram,
} from "../../src/kernel/lifecycle.ts";

/** docs/lifecycle.md: the kernel's own table, drawn. */
export function lifecyclePage(): string {
  const events = Object.entries(LIFECYCLE);
  return [
    "# The life of a session",
    "",
    "Written by `npm run docs` from `src/kernel/lifecycle.ts`; do not edit. What is not here cannot happen.",
    "",
    "```mermaid",
    lifecycleDiagram().trimEnd(),
    "```",
    "",
    "`suspended`: no transport is attached, the state is kept, and the session can be resumed until its time is over.",
    "`ended` is final.",
    "",
    "## Phases and events",
    "",
    "| phase | event | moves |",
    "|---|---|---|",
    ...PHASES.flatMap((phase) =>
      events
        .filter(([, rule]) => rule.phase === phase)
        .map(([event, rule]) => `| ${phase} | \`${event}\` | ${moves(rule.moves)} |`),
    ),
    "",
    "## Why a session ended",
    "",
    `- graceful: ${GRACEFUL_REASONS.map((reason) => `\`${reason}\``).join(", ")}`,
    `- abrupt: ${ABRUPT_REASONS.map((reason) => `\`${reason}\``).join(", ")}`,
    "",
  ].join("\n");
}

function moves(table: Readonly<Record<string, string>>): string {
  return Object.entries(table)
    .map(([from, to]) => (from === to ? `stays ${from}` : `${from} → ${to}`))
    .join(", ");
}
