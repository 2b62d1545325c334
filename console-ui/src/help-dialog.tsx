import { signal, type Signal } from "@preact/signals";
import type { JSX } from "preact";
import { Dialog } from "./parts.tsx";
import { isOperator } from "./state.ts";

export const helpOpen: Signal<boolean> = signal(false);

export function HelpDialog(): JSX.Element | null {
  if (!helpOpen.value) return null;
  const close = (): void => {
    helpOpen.value = false;
  };
  return (
    <Dialog title="Keys" onClose={close}>
      <div class="keys">
        {KEYS.filter(([, , who]) => who !== "operator" || isOperator.value).map(([keys, what]) => (
          <div key={what}>
            <span>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </span>
            <span>{what}</span>
          </div>
        ))}
      </div>
      <p class="muted small">
        In the filter: <code>principal:ada</code>, <code>mech:web</code>, <code>state:suspended</code>,{" "}
        <code>node:n1</code>, <code>older:2h</code>, <code>younger:5m</code>; every other word is looked for
        in names, labels, handles, addresses and agents.
      </p>
      <footer class="dialog-foot">
        <button type="button" class="primary" data-focus onClick={close}>
          Close
        </button>
      </footer>
    </Dialog>
  );
}

const KEYS: readonly (readonly [readonly string[], string, "operator"?])[] = [
  [["/"], "filter"],
  [["j", "↓"], "next"],
  [["k", "↑"], "previous"],
  [["Enter"], "open"],
  [["Esc"], "clear, or go back"],
  [["r"], "show what is new"],
  [["x"], "end the selected session", "operator"],
  [["X"], "end all that the filter shows, or all of a person", "operator"],
  [["p"], "from a session to its person"],
  [["n"], "new lock, on the locks screen", "operator"],
  [["g", "s"], "sessions"],
  [["g", "p"], "people"],
  [["g", "c"], "checkpoints"],
  [["g", "l"], "locks"],
  [["g", "e"], "endings"],
  [["g", "h"], "health"],
  [["?"], "this list"],
];
