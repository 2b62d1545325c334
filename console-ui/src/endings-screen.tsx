import type { JSX } from "preact";
import { now } from "./clock.ts";
import { fullDate, span } from "./format.ts";
import { useKeys } from "./keys.ts";
import { Selected } from "./locks-screen.tsx";
import { Empty, Heading } from "./parts.tsx";
import { ReceiptBar, Receipts } from "./receipts.tsx";
import { goBack } from "./router.ts";
import { endings } from "./state.ts";

/** Every recent revocation with how far its receipts are. */
export function EndingsScreen(): JSX.Element {
  useKeys({ Escape: () => goBack("/") });
  const all = [...endings.value.values()].sort(
    (a, b) => (b.answer?.at ?? Infinity) - (a.answer?.at ?? Infinity),
  );
  return (
    <div class="screen">
      <header class="screen-head">
        <Heading title="Endings" />
        <p class="muted">Revocations and locks of late, with a receipt for each session</p>
      </header>
      {all.length === 0 ? (
        <Empty title="Nobody has ended anything since this node started.">
          Select sessions in the list and press x; what becomes of each is kept here.
        </Empty>
      ) : (
        <ul class="endings">
          {all.map((ending) => (
            <li key={ending.id} class="panel">
              <div class="ending-head">
                <a href={`/endings/${ending.id}`}>{ending.answer?.reason ?? "without a reason"}</a>
                {ending.answer !== undefined && <Selected selector={ending.answer.selector} />}
                <span class="muted small">
                  {ending.answer !== undefined &&
                    `by ${ending.answer.by === "" ? "nobody named" : ending.answer.by}, ${span(now.value - ending.answer.at)} ago`}
                </span>
              </div>
              <ReceiptBar ending={ending} />
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

export function EndingScreen({ id }: { id: string }): JSX.Element {
  useKeys({ Escape: () => goBack("/endings") });
  const answer = endings.value.get(id)?.answer;
  return (
    <div class="screen">
      <header class="screen-head">
        <div class="title">
          <Heading title={answer?.reason ?? "Ending"} />
          {answer !== undefined && (
            <p class="subtitle">
              <Selected selector={answer.selector} />{" "}
              <span class="muted">
                by {answer.by}, {fullDate(answer.at)}
              </span>
            </p>
          )}
        </div>
      </header>
      <section class="panel">
        <Receipts id={id} />
      </section>
    </div>
  );
}
