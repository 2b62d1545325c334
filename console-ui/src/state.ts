import { computed, signal, type Signal } from "@preact/signals";
import type { Me, ReceiptRow, RevocationAnswer } from "../../src/console/contract.ts";
import { api } from "./api.ts";
import { closeFeed, onFeed, openFeed } from "./feed.ts";
import { Roster } from "./roster.ts";

/** Who looks; undefined until known, `nobody` when signed out. */
export const me: Signal<Me | "nobody" | undefined> = signal(undefined);
export const isOperator = computed(() => typeof me.value === "object" && me.value.role === "operator");

/** All live sessions; the list, the people and the checkpoints are views of it. */
export const everyone: Roster = new Roster();

/** What this page knows of a revocation: answers and single receipts come in any order. */
export interface Ending {
  readonly id: string;
  readonly answer: RevocationAnswer | undefined;
  readonly receipts: ReadonlyMap<string, ReceiptRow>;
  readonly settled: boolean;
}

export const endings: Signal<ReadonlyMap<string, Ending>> = signal(new Map());

onFeed("receipt", ({ revocation, receipt, settled }) => tookReceipt(revocation, receipt, settled));
onFeed("gap", () => void loadEndings());

/** Starts everything that lives as long as the page. Resolves when it is known who looks. */
export async function begin(): Promise<void> {
  try {
    await askWho();
  } catch (error) {
    console.info("the gateway could not be asked who this is:", error);
    setTimeout(() => void begin(), 1500);
    return;
  }
  if (me.value === "nobody") return;
  openFeed(askWho);
  everyone.start();
  await loadEndings();
}

export function signedOut(): void {
  me.value = "nobody";
  closeFeed();
}

async function loadEndings(): Promise<void> {
  try {
    const { revocations } = await api.revocations();
    const known = new Map(endings.peek());
    for (const answer of [...revocations].reverse())
      known.set(answer.id, merged(known.get(answer.id), answer));
    endings.value = known;
  } catch (error) {
    console.info("the list of revocations could not be loaded:", error);
  }
}

export function tookAnswer(answer: RevocationAnswer): void {
  const known = new Map(endings.peek());
  known.set(answer.id, merged(known.get(answer.id), answer));
  endings.value = known;
}

/** Asks again until every receipt is in: what the feed said while it was away is not said again. */
export async function watchEnding(id: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && endings.peek().get(id)?.settled !== true) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    if (signal.aborted) return;
    try {
      tookAnswer(await api.revocation(id));
    } catch (error) {
      console.info("the receipts could not be asked for:", error);
    }
  }
}

async function askWho(): Promise<void> {
  try {
    me.value = await api.me();
  } catch (error) {
    if (me.peek() === "nobody" || (error instanceof Error && "status" in error && error.status === 401)) {
      signedOut();
      return;
    }
    throw error;
  }
}

const waiting = new Map<string, { receipts: Map<string, ReceiptRow>; settled: boolean }>();
let frame = 0;

/** A thousand receipts may come at once: they are taken in once a frame. */
function tookReceipt(id: string, receipt: ReceiptRow, settled: boolean): void {
  const mine = waiting.get(id) ?? { receipts: new Map<string, ReceiptRow>(), settled };
  mine.receipts.set(receipt.handle, receipt);
  mine.settled = settled;
  waiting.set(id, mine);
  if (frame !== 0) return;
  frame = requestAnimationFrame(() => {
    frame = 0;
    const known = new Map(endings.peek());
    for (const [one, { receipts, settled: done }] of waiting) {
      const before = known.get(one);
      const together = new Map(before?.receipts);
      for (const [handle, row] of receipts) together.set(handle, later(together.get(handle), row));
      known.set(one, {
        id: one,
        answer: before?.answer,
        receipts: together,
        settled: done || before?.settled === true,
      });
    }
    waiting.clear();
    endings.value = known;
  });
}

function merged(before: Ending | undefined, answer: RevocationAnswer): Ending {
  const receipts = new Map(before?.receipts);
  for (const receipt of answer.receipts)
    receipts.set(receipt.handle, later(receipts.get(receipt.handle), receipt));
  return { id: answer.id, answer, receipts, settled: answer.settled || before?.settled === true };
}

/** Receipts only move forward. */
function later(a: ReceiptRow | undefined, b: ReceiptRow): ReceiptRow {
  return a !== undefined && STEPS.indexOf(a.state) > STEPS.indexOf(b.state) ? a : b;
}

const STEPS: readonly ReceiptRow["state"][] = ["requested", "ended", "signalled", "closed", "failed"];
