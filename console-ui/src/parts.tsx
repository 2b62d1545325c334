import type { Signal } from "@preact/signals";
import type { ComponentChildren, JSX, RefObject, TargetedKeyboardEvent } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { SessionRow } from "../../src/console/contract.ts";
import { now } from "./clock.ts";
import { bytes, number, span } from "./format.ts";
import { personHref, sessionHref } from "./router.ts";

/** A state by shape, colour and word, so that none of them is needed alone. */
export function StateMark({
  state,
  word = true,
}: {
  state: SessionRow["state"];
  word?: boolean;
}): JSX.Element {
  return (
    <span class={`state is-${state}`}>
      <svg class="mark" viewBox="0 0 12 12" aria-hidden="true">
        {MARKS[state]}
      </svg>
      {word ? state : <span class="unseen">{state}</span>}
    </span>
  );
}

const MARKS: Readonly<Record<SessionRow["state"], JSX.Element>> = {
  negotiating: (
    <circle cx="6" cy="6" r="4" fill="none" stroke="currentColor" stroke-width="1.6" stroke-dasharray="3 2" />
  ),
  established: <circle cx="6" cy="6" r="4.4" fill="currentColor" />,
  suspended: (
    <>
      <rect x="2.4" y="1.8" width="2.6" height="8.4" rx="1" fill="currentColor" />
      <rect x="7" y="1.8" width="2.6" height="8.4" rx="1" fill="currentColor" />
    </>
  ),
  ended: <path d="M3 3l6 6M9 3l-6 6" stroke="currentColor" stroke-width="1.7" stroke-linecap="round" />,
};

export function Age({ at }: { at: number }): JSX.Element {
  return <>{span(now.value - at)}</>;
}

export function Person({ name }: { name: string | undefined }): JSX.Element {
  if (name === undefined) return <span class="muted">nobody yet</span>;
  return (
    <a href={personHref(name)} title={name}>
      {name}
    </a>
  );
}

export function SessionLink({
  handle,
  children,
}: {
  handle: string;
  children?: ComponentChildren;
}): JSX.Element {
  return (
    <a class="handle" href={sessionHref(handle)}>
      {children ?? handle}
    </a>
  );
}

export function Progress({ row }: { row: Pick<SessionRow, "checkpoint" | "mechanism"> }): JSX.Element | null {
  const { checkpoint, mechanism } = row;
  if (checkpoint === undefined) return null;
  const { position, total } = checkpoint;
  if (total === undefined || total === 0)
    return (
      <span class="progress">
        <span class="figure">{amount(position, mechanism)}</span>
      </span>
    );
  const share = Math.min(1, position / total);
  return (
    <span class="progress" title={`${number(position)} of ${number(total)}`}>
      <span class="track" aria-hidden="true">
        <span class="fill" style={{ transform: `scaleX(${share})` }} />
      </span>
      <span class="figure">{Math.floor(share * 100)} %</span>
    </span>
  );
}

/** A position in its mechanism's own unit: bytes that went through, or the serial of a sync point. */
export function amount(position: number, mechanism: string): string {
  return IN_BYTES.has(mechanism) ? bytes(position) : `#${number(position)}`;
}

const IN_BYTES: ReadonlySet<string> = new Set(["transfer", "socks", "netbios"]);

/** A `<dialog>` that is open as long as it is there. Escape and a click beside it call `onClose`. */
export function Dialog(props: {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  wide?: boolean;
}): JSX.Element {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    ref.current?.showModal();
    ref.current?.querySelector<HTMLElement>("[data-focus]")?.focus();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={ref}
      class={props.wide === true ? "dialog is-wide" : "dialog"}
      aria-labelledby="dialog-title"
      onCancel={(event) => {
        event.preventDefault();
        props.onClose();
      }}
      onMouseDown={(event) => {
        if (event.target === ref.current) props.onClose();
      }}
    >
      <div class="dialog-body">
        <header class="dialog-head">
          <h2 id="dialog-title">{props.title}</h2>
          <button type="button" class="icon" aria-label="Close" onClick={props.onClose}>
            <svg viewBox="0 0 16 16" aria-hidden="true">
              <path d="M4 4l8 8M12 4l-8 8" />
            </svg>
          </button>
        </header>
        {props.children}
      </div>
    </dialog>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }): JSX.Element {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children !== undefined && <p class="muted">{children}</p>}
    </div>
  );
}

export function Problem({ text, again }: { text: string; again?: () => void }): JSX.Element {
  return (
    <div class="notice is-bad" role="alert">
      <span>{text}</span>
      {again !== undefined && (
        <button type="button" onClick={again}>
          Try again
        </button>
      )}
    </div>
  );
}

/** Sets the document's title, and gives the heading the focus when one arrives, as a page that loads would. */
export function Heading({ title, children }: { title: string; children?: ComponentChildren }): JSX.Element {
  const ref = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    ref.current?.focus({ preventScroll: true });
  }, []);
  useEffect(() => {
    document.title = `${title} · Holdfast`;
  }, [title]);
  return (
    <h1 ref={ref} tabIndex={-1}>
      {children ?? title}
    </h1>
  );
}

/** The field that `/` leads to. */
export function SearchField(props: {
  readonly label: string;
  readonly placeholder?: string;
  readonly input: RefObject<HTMLInputElement | null>;
  readonly value: string;
  readonly onInput: (value: string) => void;
  readonly onKeyDown: (event: TargetedKeyboardEvent<HTMLInputElement>) => void;
}): JSX.Element {
  const { label, placeholder = label, input, value, onInput, onKeyDown } = props;
  return (
    <label class="search">
      <span class="unseen">{label}</span>
      <svg viewBox="0 0 16 16" aria-hidden="true">
        <circle cx="7" cy="7" r="4.4" />
        <path d="M10.4 10.4L14 14" />
      </svg>
      <input
        ref={input}
        type="text"
        spellcheck={false}
        autocomplete="off"
        placeholder={placeholder}
        value={value}
        onInput={(event) => onInput(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      <kbd aria-hidden="true">/</kbd>
    </label>
  );
}

/** Why somebody ends or locks something out; it is asked for each time. `first`: it has the focus when the dialog opens. */
export function ReasonField({ reason, first }: { reason: Signal<string>; first: boolean }): JSX.Element {
  return (
    <label class="field">
      <span>Reason, for the journal</span>
      <input
        type="text"
        required
        maxLength={200}
        data-focus={first || undefined}
        value={reason.value}
        onInput={(event) => (reason.value = event.currentTarget.value)}
      />
    </label>
  );
}
