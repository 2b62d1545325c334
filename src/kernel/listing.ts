import type { Handle } from "./secret.ts";
import type { Selector } from "./selector.ts";
import { handlesOf, matches, narrowestTerm } from "./selector.ts";
import type { Found, SessionStore } from "./store.ts";

/** The records a selector means that have not ended, page by page along the narrowest list there is. */
export async function* matching(store: SessionStore, selector: Selector): AsyncIterable<Found> {
  const term = narrowestTerm(selector);
  if (term === undefined) {
    for (const handle of handlesOf(selector.handle)) {
      const found = await store.get(handle, { fresh: true });
      if (found !== undefined && found.record.state !== "ended" && matches(selector, found.record))
        yield found;
    }
    return;
  }
  let after: Handle | undefined;
  do {
    const page = await store.list({ term, limit: PAGE, ...(after !== undefined && { after }) });
    for (const found of page.found) if (matches(selector, found.record)) yield found;
    after = page.next;
  } while (after !== undefined);
}

const PAGE = 500;
