import { useSignal, type Signal } from "@preact/signals";
import type { JSX } from "preact";
import type { TimelineEntry } from "../../src/console/contract.ts";
import { exact, gap, moment, number } from "./format.ts";
import { LANES, wordsOf } from "./life.ts";

interface Run {
  readonly from: number;
  readonly to: number;
}

/** The timeline in words, the newest last; what repeats is folded up until asked for. */
export function TimelineTable(props: {
  timeline: readonly TimelineEntry[];
  now: number;
  hot: Signal<number>;
}): JSX.Element {
  const { timeline, now, hot } = props;
  const opened = useSignal<ReadonlySet<number>>(new Set());
  return (
    <table class="timeline">
      <thead>
        <tr>
          <th scope="col">Time</th>
          <th scope="col" class="is-number on-wide">
            After
          </th>
          <th scope="col" class="on-wide">
            Phase
          </th>
          <th scope="col">Event</th>
          <th scope="col">Node</th>
          <th scope="col">Details</th>
        </tr>
      </thead>
      <tbody>
        {runsOf(timeline).flatMap(({ from, to }) => {
          const hidden = to - from - 1;
          if (hidden < 2 || opened.value.has(from))
            return timeline.slice(from, to + 1).map((entry, offset) => row(entry, from + offset));
          const [first, last] = [timeline[from], timeline[to]];
          if (first === undefined || last === undefined) return [];
          return [
            row(first, from),
            <tr key={`fold-${from}`} class="fold">
              <td colSpan={6}>
                <button
                  type="button"
                  class="quiet"
                  onClick={() => (opened.value = new Set([...opened.peek(), from]))}
                >
                  {number(hidden)} more like this within {gap(last.at - first.at)}
                </button>
              </td>
            </tr>,
            row(last, to),
          ];
        })}
      </tbody>
    </table>
  );

  function row(entry: TimelineEntry, index: number): JSX.Element {
    const before = timeline[index - 1];
    const lane = LANES.find(({ phase }) => phase === entry.phase);
    const isBad = entry.phase === "post-session";
    return (
      <tr
        key={entry.cursor}
        class={`${hot.value === index ? "is-hot" : ""}${isBad ? " is-bad" : ""}`}
        onPointerEnter={() => (hot.value = index)}
        onPointerLeave={() => (hot.value = -1)}
      >
        <td class="figure" title={moment(entry.at, now)}>
          {exact(entry.at)}
        </td>
        <td class="is-number figure muted on-wide">
          {before === undefined ? "" : gap(entry.at - before.at)}
        </td>
        <td class="muted on-wide">{lane?.name ?? entry.phase}</td>
        <td class="event-words">{wordsOf(entry)}</td>
        <td>{entry.node}</td>
        <td class="details">
          <Details entry={entry} />
        </td>
      </tr>
    );
  }
}

function Details({ entry }: { entry: TimelineEntry }): JSX.Element {
  const { by, detail = {} } = entry;
  const said = Object.entries(detail).filter(([name]) => !(name === "reason" && entry.event === "end"));
  return (
    <>
      {by !== undefined && (
        <span class="pair">
          <i>by</i> {by}
        </span>
      )}
      {said.map(([name, value]) => (
        <span class="pair" key={name}>
          <i>{name}</i> {typeof value === "string" ? value : JSON.stringify(value)}
        </span>
      ))}
    </>
  );
}

function runsOf(timeline: readonly TimelineEntry[]): Run[] {
  const runs: Run[] = [];
  let from = 0;
  for (let i = 1; i <= timeline.length; i++) {
    if (i < timeline.length && timeline[i]?.event === timeline[from]?.event) continue;
    if (timeline.length > 0) runs.push({ from, to: i - 1 });
    from = i;
  }
  return runs;
}
