import { signal, useSignal, type Signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import type { PreviewAnswer, SelectorBody } from "../../src/console/contract.ts";
import { api } from "./api.ts";
import { messageOf, Preview, sparingMine } from "./end-dialog.tsx";
import { plural } from "./format.ts";
import { Dialog, Problem, ReasonField } from "./parts.tsx";
import { Receipts } from "./receipts.tsx";
import { everyone, tookAnswer } from "./state.ts";

type Kind = "principal" | "mechanism" | "role" | "tenant" | "device" | "node";

const wish: Signal<{ readonly kind: Kind; readonly value: string } | undefined> = signal(undefined);

export function openLock(selector: { readonly principal?: string } = {}): void {
  wish.value = { kind: "principal", value: selector.principal ?? "" };
}

export function LockDialog(): JSX.Element | null {
  const now = wish.value;
  return now === undefined ? null : <Asking kind={now.kind} value={now.value} />;
}

function Asking(start: { kind: Kind; value: string }): JSX.Element {
  const kind = useSignal(start.kind);
  const value = useSignal(start.value);
  const reason = useSignal("");
  const span = useSignal("3600000");
  const preview = useSignal<PreviewAnswer | undefined>(undefined);
  const problem = useSignal("");
  const busy = useSignal(false);
  const done = useSignal("");
  const selector: SelectorBody = { [kind.value]: value.value.trim() };
  const isSaid = value.value.trim() !== "";
  const close = (): void => {
    wish.value = undefined;
  };

  useEffect(() => {
    preview.value = undefined;
    if (!isSaid) return;
    let gone = false;
    const timer = setTimeout(() => {
      api.preview(selector).then(
        (answer) => void (!gone && (preview.value = answer)),
        (error: unknown) => void (!gone && (problem.value = messageOf(error))),
      );
    }, 250);
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [kind.value, value.value]);

  const run = async (): Promise<void> => {
    busy.value = true;
    problem.value = "";
    try {
      const until = span.value === "" ? {} : { until: Date.now() + Number(span.value) };
      const { revocation } = await api.lock({
        selector: sparingMine({ selector, standing: true }).selector,
        reason: reason.value.trim(),
        ...until,
      });
      tookAnswer(revocation);
      done.value = revocation.id;
    } catch (error) {
      problem.value = messageOf(error);
    } finally {
      busy.value = false;
    }
  };

  if (done.value !== "") {
    return (
      <Dialog title={`Locked: ${kind.value} ${value.value}`} onClose={close} wide>
        <Receipts id={done.value} />
        <footer class="dialog-foot">
          <button type="button" class="primary" data-focus onClick={close}>
            Done
          </button>
        </footer>
      </Dialog>
    );
  }
  const count = preview.value?.count;
  const ready = isSaid && reason.value.trim() !== "" && !busy.value;
  return (
    <Dialog title="Lock" onClose={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (ready) void run();
        }}
      >
        <p class="muted small">
          A lock ends the live sessions that match and refuses new ones until it is over.
        </p>
        <div class="fields">
          <label class="field">
            <span>What</span>
            <select value={kind.value} onChange={(event) => (kind.value = kindOf(event.currentTarget.value))}>
              {KINDS.map((one) => (
                <option key={one} value={one}>
                  {one}
                </option>
              ))}
            </select>
          </label>
          <label class="field is-wide">
            <span>Which {kind.value}</span>
            <input
              type="text"
              required
              maxLength={512}
              spellcheck={false}
              autocomplete="off"
              data-focus
              list="known"
              value={value.value}
              onInput={(event) => (value.value = event.currentTarget.value)}
            />
            <datalist id="known">
              {knownOf(kind.value).map((one) => (
                <option key={one} value={one} />
              ))}
            </datalist>
          </label>
        </div>
        <label class="field">
          <span>Until</span>
          <select value={span.value} onChange={(event) => (span.value = event.currentTarget.value)}>
            <option value="900000">15 minutes from now</option>
            <option value="3600000">an hour from now</option>
            <option value="28800000">8 hours from now</option>
            <option value="86400000">a day from now</option>
            <option value="604800000">a week from now</option>
            <option value="">somebody lifts it</option>
          </select>
        </label>
        <ReasonField reason={reason} first={false} />
        {isSaid && <Preview answer={preview.value} />}
        {problem.value !== "" && <Problem text={problem.value} />}
        <footer class="dialog-foot">
          <button type="button" onClick={close}>
            Cancel
          </button>
          <button type="submit" class="danger" disabled={!ready}>
            {busy.value
              ? "Locking…"
              : count === undefined
                ? "Lock"
                : `Lock and end ${plural(count, "session")}`}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

function knownOf(kind: Kind): string[] {
  const found = new Set<string>();
  for (const row of everyone.live()) {
    const { principal, mechanism, tenant, node, roles = [], peer } = row;
    const one = { principal, mechanism, tenant, node, device: peer.device, role: undefined }[kind];
    if (one !== undefined) found.add(one);
    if (kind === "role") for (const role of roles) found.add(role);
    if (found.size >= 200) break;
  }
  return [...found].sort();
}

function kindOf(text: string): Kind {
  return KINDS.find((one) => one === text) ?? "principal";
}

const KINDS: readonly Kind[] = ["principal", "mechanism", "role", "tenant", "device", "node"];
