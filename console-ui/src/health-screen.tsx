import { useSignal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useEffect } from "preact/hooks";
import type { NodeRow, SessionRow, Summary } from "../../src/console/contract.ts";
import { api } from "./api.ts";
import { Chart } from "./chart.tsx";
import { messageOf } from "./end-dialog.tsx";
import { gaps } from "./feed.ts";
import { number, plural, span } from "./format.ts";
import { useKeys } from "./keys.ts";
import { Empty, Heading, Problem, StateMark } from "./parts.tsx";
import { goBack } from "./router.ts";

/** How the sessions of this installation are doing. */
export default function HealthScreen(): JSX.Element {
  const summary = useSignal<Summary | undefined>(undefined);
  const nodes = useSignal<readonly NodeRow[]>([]);
  const problem = useSignal("");
  const load = async (): Promise<void> => {
    try {
      const [figures, list] = await Promise.all([api.summary(), api.nodes()]);
      summary.value = figures;
      nodes.value = [...list.nodes].sort(
        (a, b) => Number(b.alive) - Number(a.alive) || (a.id < b.id ? -1 : 1),
      );
      problem.value = "";
    } catch (error) {
      problem.value = messageOf(error);
    }
  };
  useEffect(() => {
    void load();
    const timer = setInterval(() => !document.hidden && void load(), BEAT_MS);
    return () => clearInterval(timer);
  }, []);
  useKeys({ Escape: () => goBack("/") });
  const figures = summary.value;
  return (
    <div class="screen">
      <header class="screen-head">
        <Heading title="Health" />
        {figures !== undefined && <p class="muted">as {figures.node} sees it</p>}
      </header>
      {problem.value !== "" && <Problem text={problem.value} again={() => void load()} />}
      {figures === undefined ? (
        problem.value === "" && <Empty title="Loading…" />
      ) : (
        <Figures figures={figures} nodes={nodes.value} />
      )}
    </div>
  );
}

function Figures({ figures, nodes }: { figures: Summary; nodes: readonly NodeRow[] }): JSX.Element {
  const { sessions, events, rates, history, store, listeners } = figures;
  const total = sessions.reduce((sum, { count }) => sum + count, 0);
  const suspended = sessions
    .filter(({ state }) => state === "suspended")
    .reduce((sum, { count }) => sum + count, 0);
  const suspends = events["suspend"] ?? 0;
  const resumes = events["resume"] ?? 0;
  const refused = Object.values(figures.refusals).reduce((sum, count) => sum + count, 0);
  const { tls } = figures;
  const { at, counts, isBusy } = drawn(history);
  const unit = isBusy ? "a second" : "a minute";
  const rate = (perSecond: number, steps: readonly number[]): string =>
    isBusy ? perSecond.toFixed(1) : number(steps.slice(-LATELY).reduce((sum, count) => sum + count, 0));
  return (
    <>
      <ul class="figures">
        <Figure name="live sessions" value={number(total)} />
        <Figure
          name="established"
          value={rate(rates.establishedPerSecond, history.established)}
          more={unit}
        />
        <Figure name="ended" value={rate(rates.endedPerSecond, history.ended)} more={unit} />
        <Figure name="suspended now" value={number(suspended)} />
        <Figure
          name="came back"
          value={suspends === 0 ? "–" : `${Math.min(100, Math.round((resumes / suspends) * 100))} %`}
          more={suspends === 0 ? "none was suspended" : `${number(resumes)} of ${number(suspends)} suspended`}
        />
        <Figure
          name="back after"
          value={figures.resumeAfterMs === undefined ? "–" : span(figures.resumeAfterMs)}
          more="half of them sooner"
        />
        <Figure name="refused" value={number(refused)} />
        {tls !== undefined && (
          <Figure
            name="TLS resumed"
            value={tls.offered === 0 ? "–" : `${Math.floor((tls.resumed / tls.offered) * 100)} %`}
            more={tls.offered === 0 ? "none was offered" : `of ${number(tls.offered)} offered`}
          />
        )}
        <Figure
          name="news"
          value={figures.feedLive ? "live" : "away"}
          more={gaps.value === 0 ? "no gap" : plural(gaps.value, "gap")}
          bad={!figures.feedLive}
        />
      </ul>
      <section class="panel" aria-labelledby="rates">
        <h2 id="rates">
          Sessions {unit}{" "}
          <span class="muted">the last {span(history.established.length * history.stepMs)}</span>
        </h2>
        <Chart
          at={at}
          unit=""
          summary={`Established, resumed, suspended, ended and refused sessions ${unit}; the figures above are the latest.`}
          series={[
            { name: "established", colour: ["#16794c", "#5bc98c"], values: counts.established },
            { name: "resumed", colour: ["#2563a8", "#79b4f2"], values: counts.resumed },
            { name: "suspended", colour: ["#9a6700", "#e2b04a"], values: counts.suspended },
            { name: "ended", colour: ["#68747e", "#9fb0bb"], values: counts.ended },
            { name: "refused", colour: ["#b3261e", "#ff8a80"], values: counts.refused },
          ]}
        />
      </section>
      <div class="panels">
        <Panel id="by-mechanism" title="Live, by mechanism">
          <Mechanisms sessions={sessions} />
        </Panel>
        <Panel id="ended" title="Ended, by reason">
          <Bars counts={figures.endedByReason} empty="None has ended since this node started." />
        </Panel>
        <Panel id="refused" title="Refused, by reason">
          <Bars counts={figures.refusals} empty="Nothing was refused since this node started." />
        </Panel>
        {tls !== undefined && (
          <Panel id="tls" title="TLS sessions refused, by reason">
            <Bars counts={tls.refusals} empty="Every session that was offered resumed." />
          </Panel>
        )}
        <Panel id="nodes" title="Nodes">
          <Nodes nodes={nodes} me={figures.node} />
        </Panel>
        <Panel id="listeners" title="Listeners">
          {listeners.length === 0 ? (
            <p class="muted">This node listens for nothing but this console.</p>
          ) : (
            <table class="plain">
              <thead>
                <tr>
                  <th scope="col">Name</th>
                  <th scope="col">Address</th>
                  <th scope="col" class="is-number">
                    Open
                  </th>
                </tr>
              </thead>
              <tbody>
                {listeners.map(({ name, address, open }) => (
                  <tr key={name}>
                    <td>{name}</td>
                    <td>
                      <span class="code">{address}</span>
                    </td>
                    <td class="is-number figure">{number(open)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
        </Panel>
        <Panel id="store" title={`Store: ${store.kind}`}>
          <table class="plain">
            <tbody>
              {Object.entries(store.stats).map(([name, value]) => (
                <tr key={name}>
                  <th scope="row">{name}</th>
                  <td class="is-number figure">{number(Math.round(value))}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Panel>
      </div>
    </>
  );
}

/** Steps put together where little happens: a lonely session now and then is no rate of a second. */
function drawn(history: Summary["history"]): {
  at: number[];
  counts: Record<(typeof LINES)[number], number[]>;
  isBusy: boolean;
} {
  const most = Math.max(...LINES.map((name) => Math.max(...history[name])));
  const isBusy = (most * 1000) / history.stepMs >= 2;
  const together = isBusy ? 1 : LATELY / 2;
  const factor = (isBusy ? 1000 : 60_000) / (history.stepMs * together);
  const sums = (steps: readonly number[]): number[] =>
    Array.from(
      { length: Math.floor(steps.length / together) },
      (_, i) => steps.slice(i * together, (i + 1) * together).reduce((sum, count) => sum + count, 0) * factor,
    );
  return {
    isBusy,
    at: sums(history.established).map((_, i) => history.from + i * together * history.stepMs),
    counts: {
      established: sums(history.established),
      suspended: sums(history.suspended),
      resumed: sums(history.resumed),
      ended: sums(history.ended),
      refused: sums(history.refused),
    },
  };
}

function Figure(props: { name: string; value: string; more?: string; bad?: boolean }): JSX.Element {
  return (
    <li class={props.bad === true ? "is-bad" : ""}>
      <b class="figure">{props.value}</b>
      <span>{props.name}</span>
      <span class="muted small">{props.more ?? "\u00a0"}</span>
    </li>
  );
}

function Panel(props: { id: string; title: string; children: ComponentChildren }): JSX.Element {
  return (
    <section class="panel" aria-labelledby={props.id}>
      <h2 id={props.id}>{props.title}</h2>
      <div class="wide-content">{props.children}</div>
    </section>
  );
}

function Mechanisms({ sessions }: { sessions: Summary["sessions"] }): JSX.Element {
  const mechanisms = [...new Set(sessions.map(({ mechanism }) => mechanism))].sort();
  if (mechanisms.length === 0) return <p class="muted">No live session.</p>;
  const count = (mechanism: string, state: SessionRow["state"]): number =>
    sessions.find((one) => one.mechanism === mechanism && one.state === state)?.count ?? 0;
  return (
    <table class="plain">
      <thead>
        <tr>
          <th scope="col">Mechanism</th>
          {STATES.map((state) => (
            <th key={state} scope="col" class="is-number">
              <StateMark state={state} word={false} />
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {mechanisms.map((mechanism) => (
          <tr key={mechanism}>
            <th scope="row">
              <a href={`/?mechanism=${encodeURIComponent(mechanism)}`}>{mechanism}</a>
            </th>
            {STATES.map((state) => (
              <td key={state} class="is-number figure">
                {count(mechanism, state) === 0 ? (
                  <span class="muted">–</span>
                ) : (
                  number(count(mechanism, state))
                )}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Bars({ counts, empty }: { counts: Readonly<Record<string, number>>; empty: string }): JSX.Element {
  const all = Object.entries(counts).sort(([, a], [, b]) => b - a);
  if (all.length === 0) return <p class="muted">{empty}</p>;
  const most = all[0]?.[1] ?? 1;
  return (
    <table class="plain bars">
      <tbody>
        {all.map(([name, count]) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            <td class="bar">
              <span
                class={GRACEFUL.includes(name) ? "is-good" : ""}
                style={{ width: `${(count / most) * 100}%` }}
              />
            </td>
            <td class="is-number figure">{number(count)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Nodes({ nodes, me }: { nodes: readonly NodeRow[]; me: string }): JSX.Element {
  return (
    <table class="plain">
      <thead>
        <tr>
          <th scope="col">Node</th>
          <th scope="col">Up</th>
          <th scope="col">About</th>
        </tr>
      </thead>
      <tbody>
        {nodes.map(({ id, alive, startedAt, about }) => (
          <tr key={id}>
            <th scope="row">
              <a href={`/?node=${encodeURIComponent(id)}`}>{id}</a>
              {id === me && <span class="muted"> this one</span>}
            </th>
            <td class={alive ? "" : "bad"}>{alive ? span(Date.now() - startedAt) : "gone"}</td>
            <td class="muted">
              {Object.entries(about)
                .map(([name, value]) => `${name} ${value}`)
                .join(", ")}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const STATES = ["established", "suspended", "negotiating"] as const;
const GRACEFUL: readonly string[] = [
  "logout",
  "bye",
  "finished",
  "idle-expired",
  "absolute-expired",
  "byte-limit",
];
const LINES = ["established", "suspended", "resumed", "ended", "refused"] as const;
/** Steps of five seconds in a minute. */
const LATELY = 12;
const BEAT_MS = 2_000;
