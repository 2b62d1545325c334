import { useSignal, type Signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import type { SessionRow } from "../../src/console/contract.ts";
import { exact, moment, span } from "./format.ts";
import { now } from "./clock.ts";
import { useKeys } from "./keys.ts";
import { amount, Age, Person, Progress, SessionLink, StateMark } from "./parts.tsx";
import type { Roster, SortKey } from "./roster.ts";
import { go, sessionHref } from "./router.ts";
import { isNarrow } from "./screen.ts";

export interface Column {
  readonly name: string;
  readonly title: string;
  readonly sort?: SortKey;
  readonly cell: (row: SessionRow) => JSX.Element | string | null;
}

/** Where a table stands; kept by who shows it, so that coming back finds it as it was. */
export interface Standing {
  readonly selected: Signal<string>;
  readonly scrollTop: Signal<number>;
  readonly hovered: Signal<boolean>;
}

interface Props {
  readonly label: string;
  readonly roster: Roster;
  readonly columns: readonly Column[];
  readonly kind: string;
  readonly standing: Standing;
  readonly onEnd?: ((row: SessionRow) => void) | undefined;
  readonly empty: JSX.Element;
}

/**
 * Sessions as a grid of which only the rows in sight exist. Every row is equally high and stands where its index says,
 * so nothing that happens to one moves another. The grid keeps the focus; the selected row is its active descendant.
 */
export function SessionTable(props: Props): JSX.Element {
  const { roster, standing, columns } = props;
  const scroller = useRef<HTMLDivElement>(null);
  const height = useSignal(900);
  const rowHeight = isNarrow.value ? NARROW_ROW : WIDE_ROW;
  const order = roster.order.value;
  // Read so that changes of rows are drawn.
  void roster.version.value;

  useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    element.scrollTop = standing.scrollTop.peek();
    const observer = new ResizeObserver(() => (height.value = element.clientHeight));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    // A list that became shorter may have moved what is in sight.
    const element = scroller.current;
    if (element !== null) standing.scrollTop.value = element.scrollTop;
  }, [order]);

  const keepInSight = (index: number): void => {
    const element = scroller.current;
    if (element === null) return;
    const top = index * rowHeight;
    const sight = element.clientHeight - (isNarrow.peek() ? 0 : HEAD);
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + rowHeight > element.scrollTop + sight) element.scrollTop = top + rowHeight - sight;
  };
  const select = (index: number): void => {
    const all = roster.order.peek();
    const at = Math.max(0, Math.min(all.length - 1, index));
    const handle = all[at];
    if (handle === undefined) return;
    standing.selected.value = handle;
    keepInSight(at);
  };
  const selectedIndex = (): number => roster.order.peek().indexOf(standing.selected.peek());
  const step = (by: number) => (): void => {
    const from = selectedIndex();
    if (from === -1) select(Math.floor((scroller.current?.scrollTop ?? 0) / rowHeight));
    else select(from + by);
  };
  const page = (): number => Math.max(1, Math.floor(height.peek() / rowHeight) - 2);
  const withSelected = (run: (row: SessionRow) => void) => (): void => {
    const row = roster.row(standing.selected.peek());
    if (row !== undefined) run(row);
  };
  const { onEnd } = props;
  useKeys({
    j: step(1),
    ArrowDown: step(1),
    k: step(-1),
    ArrowUp: step(-1),
    PageDown: () => step(page())(),
    PageUp: () => step(-page())(),
    Home: () => select(0),
    End: () => select(Infinity),
    Enter: withSelected((row) => go(sessionHref(row.handle))),
    ...(onEnd !== undefined && { x: withSelected((row) => row.state !== "ended" && onEnd(row)) }),
  });

  const first = Math.max(0, Math.floor(standing.scrollTop.value / rowHeight) - OVERSCAN);
  const last = Math.min(
    order.length,
    Math.ceil((standing.scrollTop.value + height.value) / rowHeight) + OVERSCAN,
  );
  const selected = standing.selected.value;
  const sort = roster.sort.value;

  return (
    <div
      class={`scroller table-${props.kind}`}
      ref={scroller}
      style={{ "--rows": order.length === 0 ? "200px" : `${order.length * rowHeight + HEAD + 2}px` }}
      onScroll={(event) => (standing.scrollTop.value = event.currentTarget.scrollTop)}
      onPointerEnter={(event) => (standing.hovered.value = event.pointerType === "mouse")}
      onPointerLeave={() => (standing.hovered.value = false)}
    >
      <table
        role="grid"
        aria-label={props.label}
        aria-rowcount={order.length + 1}
        aria-colcount={columns.length}
        aria-activedescendant={selected !== "" && order.includes(selected) ? `row-${selected}` : undefined}
        tabIndex={0}
        onFocus={() => selectedIndex() === -1 && step(0)()}
      >
        <thead role="rowgroup">
          <tr role="row" aria-rowindex={1}>
            {columns.map((column) => (
              <th
                key={column.name}
                role="columnheader"
                scope="col"
                class={`col-${column.name}`}
                aria-sort={
                  sort.by === column.sort ? (sort.descending ? "descending" : "ascending") : undefined
                }
              >
                <ColumnTitle column={column} roster={roster} />
              </th>
            ))}
          </tr>
        </thead>
        <tbody role="rowgroup" style={{ height: `${order.length * rowHeight}px` }}>
          {order.slice(first, last).map((handle, offset) => {
            const row = roster.row(handle);
            if (row === undefined) return null;
            const index = first + offset;
            return (
              <tr
                key={handle}
                id={`row-${handle}`}
                role="row"
                aria-rowindex={index + 2}
                aria-selected={handle === selected}
                class={rowClass(roster, row)}
                style={{ transform: `translateY(${index * rowHeight}px)` }}
                onClick={(event) => {
                  if (event.target instanceof Element && event.target.closest("a, button") !== null) return;
                  standing.selected.value = handle;
                  if (window.getSelection()?.toString() === "") go(sessionHref(handle));
                }}
              >
                {columns.map((column) => (
                  <td key={column.name} role="gridcell" class={`col-${column.name}`}>
                    {column.cell(row)}
                  </td>
                ))}
                {onEnd !== undefined && row.state !== "ended" && (
                  <td role="gridcell" class="col-act">
                    <button type="button" class="row-act" tabIndex={-1} onClick={() => onEnd(row)}>
                      End<span class="unseen"> session {handle}</span>
                    </button>
                  </td>
                )}
              </tr>
            );
          })}
        </tbody>
      </table>
      {order.length === 0 && props.empty}
    </div>
  );
}

function ColumnTitle({ column, roster }: { column: Column; roster: Roster }): JSX.Element {
  const { sort, title } = column;
  if (sort === undefined) return <>{title}</>;
  const current = roster.sort.value;
  const arrow = current.by !== sort ? "" : current.descending ? "↓" : "↑";
  return (
    <button type="button" class="sort" tabIndex={-1} onClick={() => roster.sortBy(sort)}>
      {title}
      <span class="arrow" aria-hidden="true">
        {arrow}
      </span>
    </button>
  );
}

function rowClass(roster: Roster, row: SessionRow): string {
  const stale = roster.isStale(row) ? " is-stale" : "";
  return `state-${row.state}${stale}${roster.isFresh(row.handle) ? " is-fresh" : ""}`;
}

export const COLUMNS = {
  state: {
    name: "state",
    title: "State",
    sort: "state",
    cell: (row) => (
      <>
        <StateMark state={row.state} />
        {row.ended !== undefined && <span class="why">{row.ended.reason}</span>}
      </>
    ),
  },
  principal: {
    name: "principal",
    title: "Principal",
    sort: "principal",
    cell: (row) => <Person name={row.principal} />,
  },
  mechanism: { name: "mechanism", title: "Mechanism", sort: "mechanism", cell: (row) => row.mechanism },
  what: {
    name: "what",
    title: "Session",
    cell: (row) => (
      <SessionLink handle={row.handle}>
        {row.label === undefined ? (
          <span class="code">{row.handle}</span>
        ) : (
          <span title={`${row.label} · ${row.handle}`}>{row.label}</span>
        )}
      </SessionLink>
    ),
  },
  from: {
    name: "from",
    title: "From",
    cell: ({ peer }) => (
      <span title={[peer.address, peer.agent].filter((one) => one !== undefined).join(" · ")}>
        <span class="figure">{peer.address ?? "–"}</span>
        {peer.agent !== undefined && <span class="muted agent">{peer.agent}</span>}
      </span>
    ),
  },
  node: {
    name: "node",
    title: "Node",
    sort: "node",
    cell: (row) => row.node ?? <span class="muted">–</span>,
  },
  progress: { name: "progress", title: "Progress", sort: "progress", cell: (row) => <Progress row={row} /> },
  share: {
    name: "progress",
    title: "Progress",
    sort: "progress",
    cell: (row) => (row.checkpoint?.total === undefined ? null : <Progress row={row} />),
  },
  age: {
    name: "age",
    title: "Age",
    sort: "started",
    cell: (row) => (
      <time
        class="figure"
        dateTime={new Date(row.createdAt).toISOString()}
        title={`since ${moment(row.createdAt, now.peek())}`}
      >
        <Age at={row.createdAt} />
      </time>
    ),
  },
  position: {
    name: "position",
    title: "Position",
    cell: ({ checkpoint, mechanism }) =>
      checkpoint === undefined ? null : (
        <span class="figure">
          {amount(checkpoint.position, mechanism)}
          {checkpoint.total !== undefined && (
            <span class="muted"> of {amount(checkpoint.total, mechanism)}</span>
          )}
        </span>
      ),
  },
  confirmed: {
    name: "confirmed",
    title: "Last confirmed",
    sort: "confirmed",
    cell: ({ checkpoint }) =>
      checkpoint === undefined ? null : (
        <time class="figure" dateTime={new Date(checkpoint.at).toISOString()} title={exact(checkpoint.at)}>
          {span(now.value - checkpoint.at)} ago
        </time>
      ),
  },
} as const satisfies Record<string, Column>;

const WIDE_ROW = 33;
const NARROW_ROW = 62;
const HEAD = 33;
const OVERSCAN = 6;
