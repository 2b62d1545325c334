import { computed, effect, signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { SessionRow } from "../../src/console/contract.ts";
import { endMatching, endSession, pending } from "./end-dialog.tsx";
import { FilterBar, activeConditions } from "./filter-bar.tsx";
import { type Filter, filterFrom, meantBy, paramsOf } from "./filter.ts";
import { number, plural } from "./format.ts";
import { useKeys } from "./keys.ts";
import { Empty, Heading, Problem, StateMark } from "./parts.tsx";
import { follow } from "./roster.ts";
import { go, place } from "./router.ts";
import { COLUMNS, SessionTable, type Standing } from "./session-table.tsx";
import { everyone, isOperator } from "./state.ts";

/** It outlives the screen: who comes back from a session finds the list as it was. */
const standing: Standing = { selected: signal(""), scrollTop: signal(0), hovered: signal(false) };
const filter = computed<Filter>(() =>
  place.value.path === "/" ? filterFrom(place.value.params) : lastFilter,
);
let lastFilter: Filter = {};
effect(() => {
  if (place.value.path === "/") lastFilter = filter.value;
});

/** While somebody reads, nothing is taken in. */
const isHeld = computed(
  () =>
    place.value.path !== "/" ||
    standing.hovered.value ||
    standing.scrollTop.value > 4 ||
    standing.selected.value !== "" ||
    pending.value !== undefined,
);

function setFilter(next: Filter): void {
  const params = paramsOf(next).toString();
  standing.scrollTop.value = 0;
  go(params === "" ? "/" : `/?${params}`, { replace: true });
}

export function ListScreen(): JSX.Element {
  const input = useRef<HTMLInputElement>(null);
  const conditions = filter.value;
  const key = paramsOf(conditions).toString();
  useEffect(() => everyone.filterBy(conditions), [key]);
  useEffect(() => follow(everyone, isHeld), []);

  const endAll = (): void => {
    const meant = meantBy(conditions, () => everyone.matching().map((row) => row.handle));
    endMatching(meant, describe(conditions));
  };
  const end = (row: SessionRow): void => endSession(row);
  useKeys({
    "/": () => input.current?.focus(),
    r: () => everyone.settle(),
    Escape: () => {
      if (standing.selected.value !== "") standing.selected.value = "";
      else setFilter({});
    },
    ...(isOperator.value && { X: endAll }),
  });

  return (
    <div class="screen is-list">
      <header class="screen-head">
        <Heading title="Sessions" />
        <Counts />
      </header>
      <FilterBar input={input} filter={conditions} onChange={setFilter} roster={everyone}>
        {isOperator.value && <EndAll filter={conditions} run={endAll} />}
      </FilterBar>
      {everyone.problem.value !== "" && (
        <Problem text={everyone.problem.value} again={() => void everyone.load()} />
      )}
      <SessionTable
        label="Live sessions"
        roster={everyone}
        columns={LIST}
        kind="list"
        standing={standing}
        onEnd={isOperator.value ? end : undefined}
        empty={<NothingHere filter={conditions} />}
      />
      <FootLine />
    </div>
  );
}

function Counts(): JSX.Element {
  void everyone.version.value;
  const { established, suspended, negotiating } = everyone.counts;
  return (
    <ul class="counts" aria-label="Sessions by state">
      {(
        [
          ["established", established],
          ["suspended", suspended],
          ["negotiating", negotiating],
        ] as const
      ).map(([state, count]) => (
        <li key={state}>
          <StateMark state={state} word={false} /> <b class="figure">{number(count)}</b> {state}
        </li>
      ))}
    </ul>
  );
}

function EndAll({ filter: conditions, run }: { filter: Filter; run: () => void }): JSX.Element {
  const count = everyone.order.value.length;
  const all = Object.keys(conditions).length === 0;
  return (
    <button
      type="button"
      class={all ? "end-all" : "end-all is-filtered"}
      disabled={count === 0}
      onClick={run}
      title="X"
    >
      {all ? "End all…" : `End these ${number(count)}…`}
    </button>
  );
}

/** What waits to be shown, in a line that is always there. */
function FootLine(): JSX.Element {
  void everyone.version.value;
  const shown = everyone.order.value.length;
  const { arrivals } = everyone;
  const gone = everyone.departures;
  const waits = [
    ...(arrivals > 0 ? [`${number(arrivals)} new`] : []),
    ...(gone > 0 ? [`${number(gone)} over`] : []),
  ].join(", ");
  return (
    <footer class="foot-line">
      <span role="status">
        {everyone.loading.value ? "Loading… " : ""}
        {plural(shown, "session")}
        {everyone.truncated.value && ", the newest; a filter finds the others"}
      </span>
      <span class="follows">
        {isHeld.value && waits !== "" ? (
          <button
            type="button"
            class="quiet"
            onClick={() => {
              standing.selected.value = "";
              everyone.settle();
            }}
          >
            {waits} · show <kbd>r</kbd>
          </button>
        ) : isHeld.value ? (
          <span class="muted">held while you read</span>
        ) : (
          <span class="muted">following</span>
        )}
      </span>
    </footer>
  );
}

function NothingHere({ filter: conditions }: { filter: Filter }): JSX.Element {
  if (everyone.loading.value) return <Empty title="Loading the sessions…" />;
  if (Object.keys(conditions).length === 0) {
    return (
      <Empty title="Nobody is connected.">
        Sessions appear here the moment they begin: a login, an upload, a call.
      </Empty>
    );
  }
  return (
    <Empty title="No session is like that.">
      <button type="button" onClick={() => setFilter({})}>
        Clear the filter
      </button>
    </Empty>
  );
}

function describe(conditions: Filter): string {
  const said = activeConditions(conditions).map(({ text }) => text);
  return said.length === 0 ? "End everybody's sessions" : `End the sessions: ${said.join(", ")}`;
}

const LIST = [
  COLUMNS.state,
  COLUMNS.principal,
  COLUMNS.mechanism,
  COLUMNS.what,
  COLUMNS.from,
  COLUMNS.node,
  COLUMNS.progress,
  COLUMNS.age,
];
