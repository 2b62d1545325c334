import { signal, useSignal, type Signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import type { PreviewAnswer, SelectorBody, SessionRow } from "../../src/console/contract.ts";
import { api } from "./api.ts";
import type { Meant } from "./filter.ts";
import { number, plural } from "./format.ts";
import { Dialog, Problem, ReasonField, StateMark } from "./parts.tsx";
import { Receipts } from "./receipts.tsx";
import { everyone, me, tookAnswer } from "./state.ts";

interface Wish {
  readonly title: string;
  readonly meant: Meant;
}

/** What somebody is about to end; the dialog is open as long as this is there. */
export const pending: Signal<Wish | undefined> = signal(undefined);

export function endSession(row: SessionRow): void {
  const whose = row.principal === undefined ? "" : ` of ${row.principal}`;
  pending.value = {
    title: `End this ${row.mechanism} session${whose}`,
    meant: { selector: { handle: row.handle }, standing: false },
  };
}

export function endPerson(principal: string): void {
  pending.value = {
    title: `End everything ${principal} has`,
    meant: sparingMine({ selector: { principal }, standing: true }),
  };
}

export function endMatching(meant: Meant, title: string): void {
  pending.value = { title, meant: sparingMine(meant) };
}

export function EndDialog(): JSX.Element | null {
  const wish = pending.value;
  return wish === undefined ? null : <Asking key={wish.title} wish={wish} />;
}

function Asking({ wish }: { wish: Wish }): JSX.Element {
  const preview = useSignal<PreviewAnswer | undefined>(undefined);
  const problem = useSignal("");
  const reason = useSignal("");
  const busy = useSignal(false);
  const done = useSignal("");
  const { selector, standing } = wish.meant;
  const single = typeof selector.handle === "string";
  const close = (): void => {
    pending.value = undefined;
  };

  useEffect(() => {
    let gone = false;
    api.preview(selector).then(
      (answer) => void (!gone && (preview.value = answer)),
      (error: unknown) => void (!gone && (problem.value = messageOf(error))),
    );
    return () => void (gone = true);
  }, [wish]);

  const run = async (): Promise<void> => {
    busy.value = true;
    problem.value = "";
    try {
      const answer = await api.revoke({ selector, reason: reason.value.trim() });
      tookAnswer(answer);
      done.value = answer.id;
    } catch (error) {
      problem.value = messageOf(error);
    } finally {
      busy.value = false;
    }
  };

  if (done.value !== "") {
    return (
      <Dialog title={wish.title} onClose={close} wide>
        <Receipts id={done.value} />
        <footer class="dialog-foot">
          <a class="button" href={`/endings/${done.value}`} onClick={close}>
            Keep this open as a page
          </a>
          <button type="button" class="primary" data-focus onClick={close}>
            Done
          </button>
        </footer>
      </Dialog>
    );
  }
  const count = preview.value?.count;
  return (
    <Dialog title={wish.title} onClose={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (!busy.value && count !== undefined && count > 0 && reason.value.trim() !== "") void run();
        }}
      >
        <Preview answer={preview.value} brief={single} />
        <p class="muted small">
          {standing
            ? "Those being made while this runs are refused as well. "
            : single
              ? "And what was opened under it. "
              : "Exactly the sessions listed now, and what was opened under them. "}
          {selector.except !== undefined && "Your own sign-in is spared."}
          {isMine(selector) && "This is your own sign-in: you will be signed out."}
        </p>
        <ReasonField reason={reason} first={true} />
        <ul class="suggestions" aria-label="Usual reasons">
          {REASONS.map((one) => (
            <li key={one}>
              <button type="button" class="quiet" onClick={() => (reason.value = one)}>
                {one}
              </button>
            </li>
          ))}
        </ul>
        {problem.value !== "" && <Problem text={problem.value} />}
        <footer class="dialog-foot">
          <button type="button" onClick={close}>
            Cancel
          </button>
          <button
            type="submit"
            class="danger"
            disabled={busy.value || count === undefined || count === 0 || reason.value.trim() === ""}
          >
            {busy.value ? "Ending…" : count === undefined ? "End" : `End ${plural(count, "session")}`}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

/** Equally high whether it is there yet or not. */
export function Preview({
  answer,
  brief = false,
}: {
  answer: PreviewAnswer | undefined;
  brief?: boolean;
}): JSX.Element {
  const most = brief ? 2 : SAMPLE;
  const by = Object.entries(answer?.byMechanism ?? {}).sort(([, a], [, b]) => b - a);
  return (
    <div class="preview" aria-live="polite">
      <p class="preview-count">
        <b class="figure">{answer === undefined ? "…" : number(answer.count)}</b>{" "}
        {answer?.count === 1 ? "live session" : "live sessions"}
      </p>
      <ul class="tags">
        {by.map(([mechanism, count]) => (
          <li key={mechanism}>
            {mechanism} <b class="figure">{number(count)}</b>
          </li>
        ))}
      </ul>
      <ul class={brief ? "sample is-brief" : "sample"}>
        {(answer?.sample ?? []).slice(0, most).map((row) => (
          <li key={row.handle}>
            <StateMark state={row.state} word={false} />
            <span>{row.principal ?? "nobody yet"}</span>
            <span class="muted">{row.label ?? row.mechanism}</span>
            <span class="muted figure">{row.peer.address}</span>
          </li>
        ))}
        {answer !== undefined && answer.count > most && (
          <li class="muted">and {number(answer.count - most)} more</li>
        )}
      </ul>
    </div>
  );
}

/** A selector that would end the very sign-in it is sent with leaves that one out. */
export function sparingMine(meant: Meant): Meant {
  const mine = myHandle();
  if (mine === undefined) return meant;
  const row = everyone.row(mine);
  const { handle, principal, mechanism, node, tenant, parent } = meant.selector;
  if (typeof handle === "object") {
    const others = handle.filter((one) => one !== mine);
    return others.length === 0 ? meant : { ...meant, selector: { handle: others } };
  }
  const named = { principal, mechanism, node, tenant, parent };
  for (const [name, value] of Object.entries(named))
    if (value !== undefined && row?.[name as keyof typeof named] !== value) return meant;
  return { ...meant, selector: { ...meant.selector, except: mine } };
}

function isMine({ handle }: SelectorBody): boolean {
  return handle !== undefined && handle === myHandle();
}

function myHandle(): string | undefined {
  return typeof me.value === "object" ? me.value.session : undefined;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const SAMPLE = 4;
const REASONS = ["account taken over", "lost device", "left the company", "maintenance"];
