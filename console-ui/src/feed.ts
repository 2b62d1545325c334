import { signal, type ReadonlySignal } from "@preact/signals";
import type { FeedEvent } from "../../src/console/contract.ts";

/**
 * `live`: changes arrive as they happen · `connecting`: for the first time · `lost`: the gateway does not answer since
 * `since` · `deaf`: it answers, but does not itself hear of changes.
 */
export interface FeedState {
  readonly is: "connecting" | "live" | "lost" | "deaf";
  readonly since: number;
}

type Listener<Name extends FeedEvent["event"]> = (data: Extract<FeedEvent, { event: Name }>["data"]) => void;

const state = signal<FeedState>({ is: "connecting", since: Date.now() });
export const feedState: ReadonlySignal<FeedState> = state;
const gapCount = signal(0);
/** How often since the page was opened something was missed and had to be loaded again. */
export const gaps: ReadonlySignal<number> = gapCount;

const listeners: { readonly [Name in FeedEvent["event"]]: Set<Listener<Name>> } = {
  rows: new Set(),
  entries: new Set(),
  receipt: new Set(),
  gap: new Set(),
  feed: new Set(),
};

let source: EventSource | undefined;
/** The journal's cursor of what came last; a new connection goes on behind it. */
let cursor = "";
let retry: ReturnType<typeof setTimeout> | undefined;
let askWho: () => Promise<unknown> = async () => {};

export function onFeed<Name extends FeedEvent["event"]>(name: Name, listener: Listener<Name>): () => void {
  listeners[name].add(listener);
  return () => listeners[name].delete(listener);
}

/** Connects, and keeps on trying. `whoAmI` is asked when the gateway refuses, which may mean that one is signed out. */
export function openFeed(whoAmI: () => Promise<unknown>): void {
  askWho = whoAmI;
  if (source === undefined) connect();
}

/** A browser opens six connections to one place: pages that nobody looks at give theirs back. */
let unseen: ReturnType<typeof setTimeout> | undefined;
let isPaused = false;
document.addEventListener("visibilitychange", () => {
  clearTimeout(unseen);
  if (document.hidden) {
    unseen = setTimeout(() => {
      if (source === undefined) return;
      isPaused = true;
      source.close();
    }, UNSEEN_MS);
  } else if (isPaused) connect();
});

export function closeFeed(): void {
  clearTimeout(retry);
  source?.close();
  source = undefined;
  isPaused = false;
  cursor = "";
}

function connect(): void {
  clearTimeout(retry);
  isPaused = false;
  source?.close();
  const opened = new EventSource(
    cursor === "" ? "/api/feed" : `/api/feed?after=${encodeURIComponent(cursor)}`,
  );
  source = opened;
  opened.addEventListener("open", () => {
    // Before the first entry there was nothing to go on from.
    if (state.value.is === "lost" && cursor === "") missed({ cursor: "" });
  });
  opened.addEventListener("error", () => {
    if (source !== opened) return;
    if (state.value.is !== "lost") state.value = { is: "lost", since: Date.now() };
    // A refusal ends the stream for good, and so may a proxy; a mere break does not.
    if (opened.readyState !== EventSource.CLOSED) return;
    clearTimeout(retry);
    retry = setTimeout(() => void askAndConnect(opened), RETRY_MS);
  });
  for (const name of ["rows", "entries", "receipt", "gap", "feed"] as const) {
    opened.addEventListener(name, (event: MessageEvent<string>) => {
      if (event.lastEventId !== "") cursor = event.lastEventId;
      heard({ event: name, data: JSON.parse(event.data) } as FeedEvent);
    });
  }
}

async function askAndConnect(closed: EventSource): Promise<void> {
  try {
    await askWho();
  } catch (error) {
    console.info("the gateway is still away:", error);
  }
  if (source === closed) connect();
}

function heard(event: FeedEvent): void {
  if (event.event === "gap") missed(event.data);
  else if (event.event === "feed") {
    const is = event.data.live ? "live" : "deaf";
    if (state.value.is !== is) state.value = { is, since: Date.now() };
    tell(listeners.feed, event.data);
  } else if (event.event === "rows") tell(listeners.rows, event.data);
  else if (event.event === "entries") tell(listeners.entries, event.data);
  else tell(listeners.receipt, event.data);
}

function missed(data: { readonly cursor: string }): void {
  gapCount.value++;
  tell(listeners.gap, data);
}

function tell<Data>(all: ReadonlySet<(data: Data) => void>, data: Data): void {
  for (const listener of all) listener(data);
}

const RETRY_MS = 1_500;
const UNSEEN_MS = 60_000;
