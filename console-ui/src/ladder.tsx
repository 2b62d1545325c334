import { useSignal, type Signal } from "@preact/signals";
import type { JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { TimelineEntry } from "../../src/console/contract.ts";
import { gap, moment, plural, span } from "./format.ts";
import { LANES, type Life, type Mark, type Scale, scaleOf, type Transport, wordsOf } from "./life.ts";

interface Props {
  readonly life: Life;
  readonly timeline: readonly TimelineEntry[];
  readonly now: number;
  /** The entry that is pointed at, here or in the table below. */
  readonly hot: Signal<number>;
}

/**
 * A session's life on one time axis: six lanes of events, and under them the session as one bar, its transports as
 * segments, its tokens and turns by colour and its sync points as ticks.
 */
export function Ladder({ life, timeline, now, hot }: Props): JSX.Element {
  const frame = useRef<HTMLDivElement>(null);
  const width = useSignal(0);
  const way = useSignal<"even" | "true">("even");
  useLayoutEffect(() => {
    const element = frame.current;
    if (element === null) return;
    width.value = element.clientWidth;
    const observer = new ResizeObserver(() => (width.value = element.clientWidth));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const narrow = width.value < 620;
  const left = narrow ? 10 : 116;
  const right = width.value - 18;
  const lane = narrow ? 34 : 27;
  const scale = scaleOf(life, way.value);
  const x = (at: number): number => left + scale(at) * Math.max(1, right - left);
  const lanes = TOP + LANES.length * lane;
  const rows = [
    { name: "Session", at: lanes + 20 },
    { name: "Transports", at: lanes + 56 },
    { name: "Tokens", at: lanes + 88 },
    ...[
      ...(life.turns.length > 0 ? ["Turns"] : []),
      ...(life.syncPoints.length > 0 ? ["Sync points"] : []),
    ].map((name, index) => ({ name, at: lanes + 114 + 26 * index })),
  ];
  const height = (rows.at(-1)?.at ?? lanes) + 24;
  const row = (name: string): number => rows.find((one) => one.name === name)?.at ?? 0;

  return (
    <figure class="ladder" ref={frame}>
      <div class="ladder-head">
        <ul class="legend" aria-hidden="true">
          {LEGEND.map(([kind, word]) => (
            <li key={kind}>
              <svg viewBox="-7 -7 14 14">
                <Shape kind={kind} />
              </svg>
              {word}
            </li>
          ))}
        </ul>
        <div class="switch" role="group" aria-label="How time is drawn">
          {(["even", "true"] as const).map((one) => (
            <button
              key={one}
              type="button"
              aria-pressed={way.value === one}
              onClick={() => (way.value = one)}
            >
              {one === "even" ? "By event" : "To scale"}
            </button>
          ))}
        </div>
      </div>
      {width.value > 0 && (
        <svg
          class="ladder-picture"
          width={width.value}
          height={height}
          role="img"
          aria-label={summary(life, timeline)}
        >
          <Waits scale={scale} left={left} width={right - left} bottom={height - 18} />
          {LANES.map(({ name }, index) => (
            <g key={name} class="lane">
              <line x1={left} x2={right} y1={TOP + (index + 0.5) * lane} y2={TOP + (index + 0.5) * lane} />
              <Label text={name} narrow={narrow} y={TOP + (index + 0.5) * lane} />
            </g>
          ))}
          {rows.map(({ name, at }) => (
            <Label key={name} text={name} narrow={narrow} y={at} />
          ))}
          <g class="session-bar">
            {life.states.map(({ state, from, to }) => (
              <rect
                key={from}
                class={`is-${state}`}
                x={x(from)}
                y={row("Session") - 7}
                width={Math.max(2, x(to) - x(from))}
                height={14}
                rx="3"
              />
            ))}
          </g>
          <Transports transports={life.transports} x={x} bar={row("Session") + 7} y={row("Transports")} />
          {life.transports.length === 0 && (
            <text class="aside" x={left} y={row("Transports") + 4}>
              none lasts: each request brings its own
            </text>
          )}
          <g class="tokens">
            {life.tokens.map(({ from, to, generation }) => (
              <g key={generation}>
                <rect
                  class={`token-${generation % 6}`}
                  x={x(from)}
                  y={row("Tokens") - 4}
                  width={Math.max(2, x(to) - x(from) - 1)}
                  height={8}
                  rx="2"
                >
                  <title>{`token ${generation + 1}, ${span(to - from)}`}</title>
                </rect>
              </g>
            ))}
            {life.tokens.length === 0 && (
              <text class="aside" x={left} y={row("Tokens") + 4}>
                none: it is never presented again
              </text>
            )}
          </g>
          <g class="tokens turns">
            {life.turns.map(({ from, to, who }) => (
              <rect
                key={from}
                class={who === "initiator" ? "token-0" : "token-2"}
                x={x(from)}
                y={row("Turns") - 4}
                width={Math.max(2, x(to) - x(from) - 1)}
                height={8}
                rx="2"
              >
                <title>{`the ${who}'s turn, ${span(to - from)}`}</title>
              </rect>
            ))}
          </g>
          <g class="sync-points">
            {life.syncPoints.map(({ at, index }) => (
              <line
                key={index}
                class={index === hot.value ? "is-hot" : ""}
                x1={x(at)}
                x2={x(at)}
                y1={row("Sync points") - 7}
                y2={row("Sync points") + 7}
              />
            ))}
          </g>
          {life.marks.map((mark) => (
            <MarkShape
              key={mark.index}
              mark={mark}
              entry={timeline[mark.index]}
              x={x(mark.at)}
              y={TOP + (mark.lane + 0.5) * lane}
              hot={hot}
            />
          ))}
          <HotLine mark={life.marks.find(({ index }) => index === hot.value)} x={x} bottom={height - 18} />
          <Ends life={life} now={now} left={left} right={right} y={height - 4} />
        </svg>
      )}
    </figure>
  );
}

function Label({ text, narrow, y }: { text: string; narrow: boolean; y: number }): JSX.Element {
  return (
    <text class="lane-name" x={narrow ? 0 : 4} y={narrow ? y - 10 : y + 4}>
      {text}
    </text>
  );
}

/** The segments under the bar, each hung up where it took over, with its node's name where there is room. */
function Transports(props: {
  transports: readonly Transport[];
  x: (at: number) => number;
  bar: number;
  y: number;
}): JSX.Element {
  const { transports, x, bar, y } = props;
  const nodes = [...new Set(transports.map(({ node }) => node))];
  return (
    <g class="transports">
      {transports.map(({ from, to, node, resumed, open }, index) => {
        const x1 = x(from);
        const x2 = Math.max(x1 + 3, x(to));
        return (
          <g key={index} class={`node-${nodes.indexOf(node) % 4}${open ? " is-open" : ""}`}>
            <path class={resumed ? "hook is-join" : "hook"} d={`M${x1 + 1} ${bar}V${y - 7}`} />
            {resumed && <circle class="join" cx={x1 + 1} cy={bar + 3} r="3.5" />}
            <rect x={x1} y={y - 8} width={x2 - x1} height={16} rx="3" />
            {!open && <path class="cut" d={`M${x2} ${y - 11}v22`} />}
            {x2 - x1 > node.length * 7 + 12 && (
              <text x={x1 + 7} y={y + 4}>
                {node}
              </text>
            )}
            <title>{`${node}, ${span(to - from)}${open ? ", open" : ""}`}</title>
          </g>
        );
      })}
    </g>
  );
}

function Waits(props: { scale: Scale; left: number; width: number; bottom: number }): JSX.Element {
  const { scale, left, width, bottom } = props;
  return (
    <g class="waits">
      {scale.waits.map(({ from, to, ms }) => {
        const room = (to - from) * width;
        const text = gap(ms);
        return (
          <g key={from}>
            <line x1={left + from * width} x2={left + from * width} y1={TOP} y2={bottom} />
            {room > text.length * 6.2 + 8 && (
              <text x={left + ((from + to) / 2) * width} y={TOP - 6} text-anchor="middle">
                {text}
              </text>
            )}
          </g>
        );
      })}
    </g>
  );
}

function MarkShape(props: {
  mark: Mark;
  entry: TimelineEntry | undefined;
  x: number;
  y: number;
  hot: Signal<number>;
}): JSX.Element {
  const { mark, entry, x, y, hot } = props;
  return (
    <g
      class={`event${hot.value === mark.index ? " is-hot" : ""}`}
      transform={`translate(${x} ${y})`}
      onPointerEnter={() => (hot.value = mark.index)}
      onPointerLeave={() => (hot.value = -1)}
    >
      <circle class="reach" r="9" />
      <Shape kind={mark.kind} />
      {entry !== undefined && (
        <title>{`${wordsOf(entry)}, ${new Date(entry.at).toLocaleTimeString()}`}</title>
      )}
    </g>
  );
}

function Shape({ kind }: { kind: Mark["kind"] }): JSX.Element {
  if (kind === "token") return <path class="shape is-token" d="M0-5.4L5.4 0 0 5.4-5.4 0z" />;
  if (kind === "sync") return <path class="shape is-sync" d="M0-5v10" />;
  if (kind === "pause") return <path class="shape is-pause" d="M-2.4-4v8M2.4-4v8" />;
  if (kind === "join") return <path class="shape is-join" d="M-3.4-4.6L4.6 0-3.4 4.6z" />;
  if (kind === "end") return <rect class="shape is-end" x="-4" y="-4" width="8" height="8" rx="1" />;
  if (kind === "refused") return <path class="shape is-refused" d="M-4-4l8 8M4-4l-8 8" />;
  return <circle class="shape is-plain" r="4.2" />;
}

function HotLine(props: {
  mark: Mark | undefined;
  x: (at: number) => number;
  bottom: number;
}): JSX.Element | null {
  const { mark, x, bottom } = props;
  if (mark === undefined) return null;
  return <line class="hot-line" x1={x(mark.at)} x2={x(mark.at)} y1={TOP} y2={bottom} />;
}

function Ends(props: { life: Life; now: number; left: number; right: number; y: number }): JSX.Element {
  const { life, now, left, right, y } = props;
  return (
    <g class="axis">
      <text x={left} y={y}>
        {moment(life.from, now)}
      </text>
      <text x={right} y={y} text-anchor="end">
        {life.isOver ? moment(life.to, now) : "now"}
      </text>
    </g>
  );
}

function summary(life: Life, timeline: readonly TimelineEntry[]): string {
  const refused = life.marks.filter(({ kind }) => kind === "refused").length;
  return [
    `The session's life over ${span(life.to - life.from)}: ${plural(timeline.length, "event")}`,
    plural(life.transports.length, "transport"),
    plural(life.transports.filter(({ resumed }) => resumed).length, "resume"),
    plural(life.tokens.length, "token"),
    ...(life.turns.length > 0 ? [plural(life.turns.length, "turn")] : []),
    plural(life.syncPoints.length, "sync point"),
    plural(refused, "refused use", "refused uses"),
    "The table below says the same in words.",
  ].join(", ");
}

const TOP = 22;
const LEGEND: readonly (readonly [Mark["kind"], string])[] = [
  ["plain", "event"],
  ["token", "new token"],
  ["sync", "sync point"],
  ["pause", "suspended"],
  ["join", "resumed"],
  ["end", "ended"],
  ["refused", "refused"],
];
