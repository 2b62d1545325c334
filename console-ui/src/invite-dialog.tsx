import { signal, useSignal, type Signal } from "@preact/signals";
import type { JSX } from "preact";
import type { Me } from "../../src/console/contract.ts";
import { api } from "./api.ts";
import { messageOf } from "./end-dialog.tsx";
import { Dialog, Problem } from "./parts.tsx";

export const inviteOpen: Signal<boolean> = signal(false);

/** A link that signs one other browser in. */
export function InviteDialog(): JSX.Element | null {
  return inviteOpen.value ? <Asking /> : null;
}

function Asking(): JSX.Element {
  const link = useSignal("");
  const problem = useSignal("");
  const copied = useSignal(false);
  const make = async (role: Me["role"]): Promise<void> => {
    try {
      ({ link: link.value } = await api.signInLink(role));
    } catch (error) {
      problem.value = messageOf(error);
    }
  };
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(link.value);
      copied.value = true;
    } catch (error) {
      problem.value = `It could not be copied: ${messageOf(error)}`;
    }
  };
  const close = (): void => {
    inviteOpen.value = false;
  };
  return (
    <Dialog title="Let somebody in" onClose={close}>
      <p class="muted">A link signs one browser in, once, within a quarter of an hour.</p>
      {link.value === "" ? (
        <div class="fields">
          <button type="button" data-focus onClick={() => void make("viewer")}>
            Link for a viewer, who may look
          </button>
          <button type="button" onClick={() => void make("operator")}>
            Link for an operator, who may end
          </button>
        </div>
      ) : (
        <label class="field">
          <span>The link</span>
          <input type="text" readOnly value={link.value} onFocus={(event) => event.currentTarget.select()} />
        </label>
      )}
      {problem.value !== "" && <Problem text={problem.value} />}
      <footer class="dialog-foot">
        {link.value !== "" && (
          <button type="button" onClick={() => void copy()}>
            {copied.value ? "Copied" : "Copy"}
          </button>
        )}
        <button type="button" class="primary" onClick={close}>
          Done
        </button>
      </footer>
    </Dialog>
  );
}
