import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import type { LockRow, SelectorBody } from "../../src/console/contract.ts";
import { api } from "./api.ts";
import { now } from "./clock.ts";
import { messageOf } from "./end-dialog.tsx";
import { onFeed } from "./feed.ts";
import { fullDate, span } from "./format.ts";
import { useKeys } from "./keys.ts";
import { openLock } from "./lock-dialog.tsx";
import { Dialog, Empty, Heading, Person, Problem } from "./parts.tsx";
import { goBack } from "./router.ts";
import { isOperator } from "./state.ts";

export function LocksScreen(): JSX.Element {
  const locks = useSignal<readonly LockRow[] | undefined>(undefined);
  const problem = useSignal("");
  const lifting = useSignal<LockRow | undefined>(undefined);
  const load = async (): Promise<void> => {
    try {
      locks.value = (await api.locks()).locks;
      problem.value = "";
    } catch (error) {
      problem.value = messageOf(error);
    }
  };
  useEffect(() => {
    void load();
    const stops = [
      onFeed("entries", (entries) => {
        if (entries.some(({ event }) => event === "barrier" || event === "barrier-lifted")) void load();
      }),
      onFeed("gap", () => void load()),
    ];
    return () => {
      for (const stop of stops) stop();
    };
  }, []);
  useKeys({ Escape: () => goBack("/"), ...(isOperator.value && { n: () => openLock() }) });

  const lift = async (lock: LockRow): Promise<void> => {
    try {
      await api.unlock(lock.id);
      lifting.value = undefined;
      await load();
    } catch (error) {
      problem.value = messageOf(error);
      lifting.value = undefined;
    }
  };
  const standing = (locks.value ?? []).filter(({ until }) => until === undefined || until > now.value);
  return (
    <div class="screen">
      <header class="screen-head">
        <Heading title="Locks" />
        {isOperator.value && (
          <button type="button" class="primary" onClick={() => openLock()}>
            New lock… <kbd>n</kbd>
          </button>
        )}
      </header>
      {problem.value !== "" && <Problem text={problem.value} again={() => void load()} />}
      {locks.value === undefined ? (
        <Empty title="Loading…" />
      ) : standing.length === 0 ? (
        <Empty title="Nothing is locked.">
          A lock ends sessions and keeps new ones out until it is lifted or over.
        </Empty>
      ) : (
        <ul class="locks">
          {standing.map((lock) => (
            <li key={lock.id} class="panel">
              <div>
                <p class="lock-what">
                  <Selected selector={lock.selector} />
                </p>
                <p>{lock.reason}</p>
                <p class="muted small">
                  {lock.by !== undefined && `by ${lock.by}, `}
                  <time dateTime={new Date(lock.at).toISOString()}>{fullDate(lock.at)}</time>
                </p>
              </div>
              <div class="lock-side">
                <span class="figure">
                  {lock.until === undefined ? "until lifted" : `${span(lock.until - now.value)} left`}
                </span>
                {isOperator.value && (
                  <button type="button" onClick={() => (lifting.value = lock)}>
                    Lift…<span class="unseen"> the lock on {JSON.stringify(lock.selector)}</span>
                  </button>
                )}
              </div>
            </li>
          ))}
        </ul>
      )}
      {lifting.value !== undefined && (
        <Dialog title="Lift this lock?" onClose={() => (lifting.value = undefined)}>
          <p>
            <Selected selector={lifting.value.selector} /> will be let in again. What was ended stays ended.
          </p>
          <footer class="dialog-foot">
            <button type="button" onClick={() => (lifting.value = undefined)}>
              Cancel
            </button>
            <button
              type="button"
              class="primary"
              data-focus
              onClick={() => lifting.value !== undefined && void lift(lifting.value)}
            >
              Lift
            </button>
          </footer>
        </Dialog>
      )}
    </div>
  );
}

/** A selector in words. */
export function Selected({ selector }: { selector: SelectorBody }): JSX.Element {
  const { all, handle, except, principal, ...others } = selector;
  const named = handle === undefined ? [] : typeof handle === "string" ? [handle] : handle;
  return (
    <span class="selected">
      {all === true && <b>every session</b>}
      {principal !== undefined && <Person name={principal} />}
      {Object.entries(others).map(([name, value]) => (
        <span key={name}>
          <span class="muted">{name}</span> <b>{String(value)}</b>
        </span>
      ))}
      {named.length > 0 && (
        <span>
          <b class="figure">{named.length === 1 ? named[0] : `${named.length} named sessions`}</b>
        </span>
      )}
      {except !== undefined && (
        <span class="muted">sparing {typeof except === "string" ? "one" : except.length}</span>
      )}
    </span>
  );
}
