import { signal, useComputed, useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import { endPerson, endSession } from "./end-dialog.tsx";
import { number, plural } from "./format.ts";
import { useKeys } from "./keys.ts";
import { openLock } from "./lock-dialog.tsx";
import { Empty, Heading, Problem } from "./parts.tsx";
import { Receipts } from "./receipts.tsx";
import { follow, Roster } from "./roster.ts";
import { goBack } from "./router.ts";
import { COLUMNS, SessionTable, type Standing } from "./session-table.tsx";
import { endings, isOperator } from "./state.ts";

/** Everything one person has, and the end of it. */
export function PersonScreen({ principal }: { principal: string }): JSX.Element {
  const roster = useMemo(() => new Roster({ principal }), [principal]);
  const standing = useMemo<Standing>(
    () => ({ selected: signal(""), scrollTop: signal(0), hovered: signal(false) }),
    [principal],
  );
  const isHeld = useComputed(
    () => standing.hovered.value || standing.selected.value !== "" || roster.departures > 0,
  );
  const since = useSignal(Date.now());
  useEffect(() => roster.start(), [roster]);
  useEffect(() => follow(roster, isHeld), [roster]);
  useKeys({
    Escape: () => {
      if (standing.selected.value === "") goBack("/");
      else standing.selected.value = "";
    },
    r: () => roster.settle(),
    ...(isOperator.value && { X: () => endPerson(principal) }),
  });

  void roster.version.value;
  const live = [...roster.live()];
  const by = new Map<string, number>();
  for (const { mechanism } of live.sort((a, b) => (a.mechanism < b.mechanism ? -1 : 1)))
    by.set(mechanism, (by.get(mechanism) ?? 0) + 1);
  const nodes = new Set(live.flatMap(({ node }) => (node === undefined ? [] : [node])));
  const recent = [...endings.value.values()].filter(
    ({ answer }) => answer?.selector.principal === principal && answer.at > since.value - RECENT_MS,
  );
  const latest = recent.at(-1);
  const waits = roster.arrivals;

  return (
    <div class="screen is-person">
      <header class="screen-head">
        <div class="title">
          <Heading title={principal} />
          <p class="subtitle muted">
            {plural(live.length, "live session")}
            {nodes.size > 0 && ` on ${plural(nodes.size, "node")}`}
          </p>
        </div>
        {isOperator.value && (
          <div class="acts">
            <button type="button" onClick={() => openLock({ principal })}>
              Lock out…
            </button>
            <button
              type="button"
              class="danger"
              disabled={live.length === 0}
              onClick={() => endPerson(principal)}
            >
              End everything <kbd>X</kbd>
            </button>
          </div>
        )}
      </header>
      <ul class="tags" aria-label="Live sessions by mechanism">
        {[...by].map(([mechanism, count]) => (
          <li key={mechanism}>
            {mechanism} <b class="figure">{number(count)}</b>
          </li>
        ))}
      </ul>
      {roster.problem.value !== "" && (
        <Problem text={roster.problem.value} again={() => void roster.load()} />
      )}
      {latest !== undefined && (
        <section class="panel" aria-labelledby="receipts">
          <h2 id="receipts">
            Ended
            {latest.answer !== undefined && (
              <span class="muted">
                {" "}
                {latest.answer.reason}, by {latest.answer.by}
              </span>
            )}
          </h2>
          <Receipts id={latest.id} />
        </section>
      )}
      {waits > 0 && isHeld.value && (
        <p class="notice">
          {plural(waits, "new session")}{" "}
          <button type="button" class="quiet" onClick={() => roster.settle()}>
            show
          </button>
        </p>
      )}
      <SessionTable
        label={`Sessions of ${principal}`}
        roster={roster}
        columns={PERSON}
        kind="person"
        standing={standing}
        onEnd={isOperator.value ? endSession : undefined}
        empty={
          roster.loading.value ? (
            <Empty title="Loading…" />
          ) : (
            <Empty title="No live sessions.">What they begin from now on appears here.</Empty>
          )
        }
      />
    </div>
  );
}

const PERSON = [
  COLUMNS.state,
  COLUMNS.mechanism,
  COLUMNS.what,
  COLUMNS.from,
  COLUMNS.node,
  COLUMNS.progress,
  COLUMNS.age,
];
const RECENT_MS = 10 * 60_000;
