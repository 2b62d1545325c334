import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import type { ReceiptRow } from "../../src/console/contract.ts";
import { gap, number, plural } from "./format.ts";
import { Empty, SessionLink } from "./parts.tsx";
import { endings, watchEnding, type Ending } from "./state.ts";

/** The receipts of one revocation, filling in. */
export function Receipts({ id }: { id: string }): JSX.Element {
  const ending = endings.value.get(id);
  const more = useSignal(false);
  useEffect(() => {
    const stop = new AbortController();
    void watchEnding(id, stop.signal);
    return () => stop.abort();
  }, [id]);
  if (ending === undefined) return <Empty title="Waiting for the first receipt…" />;

  const all = [...ending.receipts.values()].sort(openFirst);
  const shown = more.value ? all : all.slice(0, SHOWN);
  return (
    <section class="receipts" aria-label="Receipts">
      <ReceiptBar ending={ending} />
      <div class="receipt-list">
        <table>
          <thead>
            <tr>
              <th scope="col">Session</th>
              <th scope="col">Mechanism</th>
              <th scope="col">Node</th>
              <th scope="col">Receipt</th>
              <th scope="col" class="is-number">
                Took
              </th>
            </tr>
          </thead>
          <tbody>
            {shown.map((receipt) => (
              <tr key={receipt.handle} class={`receipt is-${receipt.state}`}>
                <td>
                  <SessionLink handle={receipt.handle}>{receipt.principal ?? receipt.handle}</SessionLink>
                </td>
                <td>{receipt.mechanism}</td>
                <td>{receipt.node ?? <span class="muted">–</span>}</td>
                <td>
                  <Steps receipt={receipt} />
                </td>
                <td class="is-number figure">
                  {receipt.closedAt === undefined ? "" : gap(receipt.closedAt - receipt.requestedAt)}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {all.length > shown.length && (
        <button type="button" class="quiet" onClick={() => (more.value = true)}>
          Show all {number(all.length)}
        </button>
      )}
    </section>
  );
}

/** How far a revocation is, in one line: always equally high. */
export function ReceiptBar({ ending }: { ending: Ending }): JSX.Element {
  const counts = { closed: 0, failed: 0, open: 0 };
  for (const { state } of ending.receipts.values())
    counts[state === "closed" || state === "failed" ? state : "open"]++;
  const total = ending.receipts.size;
  const share = (count: number): string => `${total === 0 ? 0 : (count / total) * 100}%`;
  const said = [
    `${number(counts.closed)} of ${plural(total, "session")} closed`,
    ...(counts.open > 0 ? [`${number(counts.open)} under way`] : []),
    ...(counts.failed > 0 ? [`${number(counts.failed)} not confirmed`] : []),
  ].join(" · ");
  return (
    <div class="receipt-bar" data-settled={ending.settled}>
      <p role="status">
        {total === 0 && ending.settled ? "Nothing was left to end." : said}
        {ending.settled && counts.failed === 0 && total > 0 && <span class="good"> · all confirmed</span>}
      </p>
      <div class="track" aria-hidden="true">
        <span class="fill is-closed" style={{ width: share(counts.closed) }} />
        <span class="fill is-failed" style={{ width: share(counts.failed) }} />
      </div>
    </div>
  );
}

/** requested → refused everywhere → told to close → closed, or failed and why. */
function Steps({ receipt }: { receipt: ReceiptRow }): JSX.Element {
  const { state, why } = receipt;
  if (state === "failed") return <span class="bad">not confirmed: {why ?? "no reason was given"}</span>;
  const at = ORDER.indexOf(state);
  return (
    <span class="steps">
      <span class="dots" aria-hidden="true">
        {ORDER.map((one, index) => (
          <i key={one} class={index <= at ? "is-done" : ""} />
        ))}
      </span>
      <span>{WORDS[state]}</span>
      {why !== undefined && <span class="muted"> {why}</span>}
    </span>
  );
}

function openFirst(a: ReceiptRow, b: ReceiptRow): number {
  return RANK[a.state] - RANK[b.state] || (a.handle < b.handle ? -1 : 1);
}

const SHOWN = 200;
const ORDER: readonly ReceiptRow["state"][] = ["requested", "ended", "signalled", "closed"];
/** Failures first; the others keep one order, so that no receipt jumps as it fills in. */
const RANK: Readonly<Record<ReceiptRow["state"], number>> = {
  failed: 0,
  requested: 1,
  ended: 1,
  signalled: 1,
  closed: 1,
};
const WORDS: Readonly<Record<ReceiptRow["state"], string>> = {
  requested: "asked for",
  ended: "refused everywhere",
  signalled: "told to close",
  closed: "closed",
  failed: "failed",
};
