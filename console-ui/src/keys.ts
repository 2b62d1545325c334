import { useEffect, useRef } from "preact/hooks";

export type KeyMap = Readonly<Record<string, (event: KeyboardEvent) => void>>;

/** What was mounted last is asked first. */
const stack: { readonly map: KeyMap }[] = [];

/** `j`, `Enter`, `ArrowDown`, `g h` for one after the other. Inactive while one types or a dialog is open. */
export function useKeys(map: KeyMap): void {
  const entry = useRef({ map });
  entry.current.map = map;
  useEffect(() => {
    const mine = {
      get map(): KeyMap {
        return entry.current.map;
      },
    };
    stack.push(mine);
    return () => void stack.splice(stack.indexOf(mine), 1);
  }, []);
}

export function listenToKeys(): void {
  let before = "";
  let beforeAt = 0;
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]") !== null || isTyping(event.target)) return;
    // A button or link that has the focus keeps the keys that work it.
    if ((event.key === "Enter" || event.key === " ") && isPressable(event.target)) return;
    const both = event.timeStamp - beforeAt < SEQUENCE_MS ? `${before} ${event.key}` : "";
    before = event.key;
    beforeAt = event.timeStamp;
    for (const name of both === "" ? [event.key] : [both, event.key]) {
      const found = stack.toReversed().find(({ map }) => map[name] !== undefined);
      if (found === undefined) continue;
      event.preventDefault();
      found.map[name]?.(event);
      return;
    }
  });
}

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement && target.closest("input, textarea, select, [contenteditable]") !== null
  );
}

function isPressable(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest("button, a[href], summary") !== null;
}

const SEQUENCE_MS = 900;
