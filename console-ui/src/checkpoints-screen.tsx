import { computed, signal, useComputed } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import { endSession, pending } from "./end-dialog.tsx";
import { plural } from "./format.ts";
import { useKeys } from "./keys.ts";
import { Empty, Heading, Problem } from "./parts.tsx";
import { follow, Roster } from "./roster.ts";
import { goBack, place } from "./router.ts";
import { COLUMNS, SessionTable, type Standing } from "./session-table.tsx";
import { isOperator } from "./state.ts";

const standing: Standing = { selected: signal(""), scrollTop: signal(0), hovered: signal(false) };
const isHeld = computed(
  () =>
    standing.hovered.value ||
    standing.scrollTop.value > 4 ||
    standing.selected.value !== "" ||
    pending.value !== undefined,
);

/** How far every session that can be picked up again has been confirmed. */
export function CheckpointsScreen(): JSX.Element {
  const roster = useMemo(() => new Roster({}, (row) => row.checkpoint !== undefined, "confirmed"), []);
  useEffect(() => roster.start(), []);
  useEffect(() => follow(roster, isHeld), []);
  useKeys({
    Escape: () => {
      if (standing.selected.value === "") goBack("/");
      else standing.selected.value = "";
    },
    r: () => roster.settle(),
  });
  const count = useComputed(() => (place.value.path === "/checkpoints" ? roster.order.value.length : 0));
  return (
    <div class="screen is-list">
      <header class="screen-head">
        <Heading title="Checkpoints" />
        <p class="muted">{plural(count.value, "session")} would lose nothing before these points</p>
      </header>
      {roster.problem.value !== "" && (
        <Problem text={roster.problem.value} again={() => void roster.load()} />
      )}
      <SessionTable
        label="Sessions with a checkpoint"
        roster={roster}
        columns={CHECKPOINTS}
        kind="checkpoints"
        standing={standing}
        onEnd={isOperator.value ? endSession : undefined}
        empty={
          roster.loading.value ? (
            <Empty title="Loading…" />
          ) : (
            <Empty title="No session has a checkpoint.">Uploads and dialogs set them as they go.</Empty>
          )
        }
      />
    </div>
  );
}

const CHECKPOINTS = [
  COLUMNS.state,
  COLUMNS.what,
  COLUMNS.principal,
  COLUMNS.mechanism,
  COLUMNS.share,
  COLUMNS.position,
  COLUMNS.confirmed,
];
