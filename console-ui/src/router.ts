import { signal, type ReadonlySignal } from "@preact/signals";

export interface Place {
  readonly path: string;
  readonly params: URLSearchParams;
}

const current = signal<Place>(read());

/** Where the page is. */
export const place: ReadonlySignal<Place> = current;

export function go(href: string, options: { replace?: boolean } = {}): void {
  if (options.replace === true) history.replaceState(null, "", href);
  else history.pushState({ inside: true }, "", href);
  current.value = read();
}

/** Back to where one came from, or to `fallback` when the page was opened right here. */
export function goBack(fallback: string): void {
  const state: unknown = history.state;
  if (typeof state === "object" && state !== null && "inside" in state) history.back();
  else go(fallback);
}

/** Ordinary links stay ordinary links; those that lead to another screen do not load the page again. */
export function followLinks(): void {
  addEventListener("popstate", () => (current.value = read()));
  addEventListener("click", (event) => {
    if (
      event.defaultPrevented ||
      event.button !== 0 ||
      event.metaKey ||
      event.ctrlKey ||
      event.shiftKey ||
      event.altKey
    )
      return;
    const link = event.target instanceof Element ? event.target.closest("a[href]") : null;
    const href = link?.getAttribute("href") ?? "";
    if (link === null || !href.startsWith("/") || link.hasAttribute("target")) return;
    event.preventDefault();
    go(href);
  });
}

/** The one variable part of a path: `/sessions/{it}`. */
export function partOf(path: string, prefix: string): string | undefined {
  if (!path.startsWith(prefix) || path.length === prefix.length) return undefined;
  try {
    return decodeURIComponent(path.slice(prefix.length));
  } catch {
    return undefined;
  }
}

export function sessionHref(handle: string): string {
  return `/sessions/${encodeURIComponent(handle)}`;
}

export function personHref(principal: string): string {
  return `/people/${encodeURIComponent(principal)}`;
}

function read(): Place {
  return { path: location.pathname, params: new URLSearchParams(location.search) };
}
