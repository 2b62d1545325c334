import { signal, type ReadonlySignal } from "@preact/signals";

const time = signal(Date.now());

/** The time, moving once a second while somebody looks: what ages are shown against. */
export const now: ReadonlySignal<number> = time;

setInterval(() => {
  if (!document.hidden) time.value = Date.now();
}, 1000);
document.addEventListener("visibilitychange", () => (time.value = Date.now()));
