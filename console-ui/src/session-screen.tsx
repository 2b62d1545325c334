import { useSignal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useEffect } from "preact/hooks";
import type { SessionDetail, SessionRow } from "../../src/console/contract.ts";
import { api, ApiError } from "./api.ts";
import { now } from "./clock.ts";
import { endSession, messageOf } from "./end-dialog.tsx";
import { onFeed } from "./feed.ts";
import { fullDate, number, plural, span } from "./format.ts";
import { useKeys } from "./keys.ts";
import { Ladder } from "./ladder.tsx";
import { lifeOf } from "./life.ts";
import { amount, Empty, Heading, Person, Problem, Progress, SessionLink, StateMark } from "./parts.tsx";
import { go, goBack, personHref } from "./router.ts";
import { isOperator } from "./state.ts";
import { TimelineTable } from "./timeline-table.tsx";

/** One session: what it is, its life as a ladder, those opened under it, its data, and its timeline. */
export function SessionScreen({ handle }: { handle: string }): JSX.Element {
  const detail = useSignal<SessionDetail | undefined>(undefined);
  const missing = useSignal(false);
  const problem = useSignal("");
  const hot = useSignal(-1);

  useEffect(() => {
    let gone = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const load = async (): Promise<void> => {
      try {
        const found = await api.session(handle);
        if (!gone) detail.value = found;
        problem.value = "";
      } catch (error) {
        if (error instanceof ApiError && (error.status === 404 || error.status === 400)) missing.value = true;
        else problem.value = messageOf(error);
      }
    };
    const soon = (): void => {
      timer ??= setTimeout(() => {
        timer = undefined;
        void load();
      }, COALESCE_MS);
    };
    const isMine = (row: Pick<SessionRow, "handle" | "parent">): boolean =>
      row.handle === handle || row.parent === handle;
    const stops = [
      onFeed("entries", (entries) => void (entries.some((entry) => entry.handle === handle) && soon())),
      onFeed("rows", ({ changed, ended }) => void ((changed.some(isMine) || ended.some(isMine)) && soon())),
      onFeed("gap", soon),
    ];
    // Uses are not journalled, so the last one is asked for.
    const beat = setInterval(() => !document.hidden && soon(), BEAT_MS);
    void load();
    return () => {
      gone = true;
      clearTimeout(timer);
      clearInterval(beat);
      for (const stop of stops) stop();
    };
  }, [handle]);

  const session = detail.value?.session;
  const canEnd = isOperator.value && session !== undefined && session.state !== "ended";
  const principal = session?.principal;
  useKeys({
    Escape: () => goBack("/"),
    ...(canEnd && { x: () => endSession(session) }),
    ...(principal !== undefined && { p: () => go(personHref(principal)) }),
  });

  if (missing.value) {
    return (
      <div class="screen">
        <Heading title="No such session" />
        <Empty title="This session does not exist, or it ended too long ago to be remembered.">
          <a href="/">Back to the list</a>
        </Empty>
      </div>
    );
  }
  if (detail.value === undefined || session === undefined) {
    return (
      <div class="screen">
        <Heading title="Session" />
        {problem.value === "" ? <Empty title="Loading…" /> : <Problem text={problem.value} />}
      </div>
    );
  }
  const { timeline, children, data } = detail.value;
  const at = session.state === "ended" ? (session.ended?.at ?? now.peek()) : now.value;
  return (
    <div class="screen is-session">
      <header class="screen-head">
        <div class="title">
          <Heading title={session.label ?? `${session.mechanism} session`} />
          <p class="subtitle">
            <StateMark state={session.state} /> <span class="muted">·</span> {session.mechanism}{" "}
            <span class="muted">·</span> <span class="code">{session.handle}</span>
          </p>
        </div>
        {isOperator.value && (
          <button type="button" class="danger" disabled={!canEnd} onClick={() => endSession(session)}>
            End session <kbd>x</kbd>
          </button>
        )}
      </header>
      {problem.value !== "" && <Problem text={problem.value} />}
      {session.ended !== undefined && (
        <p class={session.ended.graceful ? "notice" : "notice is-warn"}>
          Ended {session.ended.graceful ? "as it should" : "abruptly"}: <b>{session.ended.reason}</b>
          {session.ended.by !== undefined && ` by ${session.ended.by}`}, {fullDate(session.ended.at)}
        </p>
      )}
      <Facts session={session} at={at} />
      <section class="panel" aria-labelledby="life">
        <h2 id="life">Life</h2>
        <Ladder life={lifeOf(session, timeline, at)} timeline={timeline} now={at} hot={hot} />
      </section>
      <div class="beside">
        <section class="panel" aria-labelledby="under">
          <h2 id="under">Opened under it</h2>
          {children.length === 0 ? (
            <p class="muted">
              {session.state === "ended"
                ? "Nothing any more: what was opened under it ended with it."
                : "Nothing. Sessions opened under this one would end with it."}
            </p>
          ) : (
            <ul class="children">
              {children.map((child) => (
                <li key={child.handle}>
                  <StateMark state={child.state} word={false} />
                  <SessionLink handle={child.handle}>{child.label ?? child.handle}</SessionLink>
                  <span class="muted">{child.mechanism}</span>
                  <span class="figure muted">{span(now.value - child.createdAt)}</span>
                </li>
              ))}
            </ul>
          )}
        </section>
        <section class="panel" aria-labelledby="data">
          <h2 id="data">Data</h2>
          {data === null ? (
            <p class="muted">The application keeps nothing in this session.</p>
          ) : (
            <pre class="data" tabIndex={0} aria-labelledby="data">
              {JSON.stringify(data, undefined, 2)}
            </pre>
          )}
        </section>
      </div>
      <section class="panel" aria-labelledby="timeline">
        <h2 id="timeline">
          Timeline <span class="muted">{plural(timeline.length, "entry", "entries")}</span>
        </h2>
        <div class="wide-content" tabIndex={0} role="region" aria-labelledby="timeline">
          <TimelineTable timeline={timeline} now={at} hot={hot} />
        </div>
      </section>
    </div>
  );
}

function Facts({ session, at }: { session: SessionRow; at: number }): JSX.Element {
  const { peer, checkpoint, mechanism } = session;
  const ends = [
    ...(session.idleAt !== undefined ? [`idle in ${span(session.idleAt - at)}`] : []),
    ...(session.absoluteAt !== undefined ? [`at the latest in ${span(session.absoluteAt - at)}`] : []),
  ];
  const isLive = session.state !== "ended";
  return (
    <dl class="facts">
      <Fact name="Principal">
        <Person name={session.principal} />
      </Fact>
      <Fact name="From">
        {peer.address ?? "–"}
        {peer.agent !== undefined && <span class="muted"> {peer.agent}</span>}
      </Fact>
      <Fact name="Node">{session.node ?? "any"}</Fact>
      <Fact name={isLive ? "Age" : "Lasted"}>
        <span title={fullDate(session.createdAt)}>{span(at - session.createdAt)}</span>
      </Fact>
      <Fact name="Last used">
        {isLive ? `${span(at - session.touchedAt)} ago` : fullDate(session.touchedAt)}
      </Fact>
      {session.state === "suspended" && session.suspendUntil !== undefined && (
        <Fact name="Can be resumed">for {span(session.suspendUntil - at)} more</Fact>
      )}
      {isLive && <Fact name="Ends">{ends.length === 0 ? "when it is over" : ends.join(", ")}</Fact>}
      {checkpoint !== undefined && (
        <Fact name="Confirmed up to">
          <span title={number(checkpoint.position)}>{amount(checkpoint.position, mechanism)}</span>
          {checkpoint.total !== undefined && (
            <>
              <span class="muted"> of {amount(checkpoint.total, mechanism)}</span>
              <Progress row={session} />
            </>
          )}
        </Fact>
      )}
      <Fact name="Turns">{session.mode}</Fact>
      {session.roles !== undefined && session.roles.length > 0 && (
        <Fact name="Roles">{session.roles.join(", ")}</Fact>
      )}
      {session.tenant !== undefined && <Fact name="Tenant">{session.tenant}</Fact>}
      {peer.device !== undefined && <Fact name="Device">{peer.device}</Fact>}
      {session.parent !== undefined && (
        <Fact name="Opened under">
          <SessionLink handle={session.parent} />
        </Fact>
      )}
    </dl>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }): JSX.Element {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

const COALESCE_MS = 150;
const BEAT_MS = 15_000;
