import { batch, effect, signal, type ReadonlySignal, type Signal } from "@preact/signals";
import type { SessionRow } from "../../src/console/contract.ts";
import { api } from "./api.ts";
import { onFeed } from "./feed.ts";
import { type Filter, meets, paramsOf } from "./filter.ts";

export type SortKey = "started" | "principal" | "mechanism" | "state" | "node" | "progress" | "confirmed";
export interface Sort {
  readonly by: SortKey;
  readonly descending: boolean;
}

/**
 * Sessions as one screen shows them, kept by the feed. What is on the screen stays in its place: a row changes where it
 * is, one that ended stays there as ended, and new ones are counted until `settle` takes them in.
 */
export class Roster {
  /** Moves with every change of anything below; read it to be told. */
  readonly version: Signal<number> = signal(0);
  readonly loading: Signal<boolean> = signal(true);
  readonly problem: Signal<string> = signal("");
  readonly order: Signal<readonly string[]> = signal([]);
  /** More sessions exist than are kept here: then the gateway filters. */
  readonly truncated: Signal<boolean> = signal(false);
  readonly mechanisms: Signal<readonly string[]> = signal([]);
  readonly nodes: Signal<readonly string[]> = signal([]);
  readonly sort: Signal<Sort>;
  readonly #base: Filter;
  readonly #keeps: (row: SessionRow) => boolean;
  #filter: Filter = {};
  /** What was loaded: the base, and where the gateway filters also the filter. */
  #scope: Filter;
  readonly #rows = new Map<string, SessionRow>();
  #shown = new Set<string>();
  #arrived = new Set<string>();
  #departed = new Set<string>();
  #fresh: ReadonlySet<string> = new Set();
  #counts = { negotiating: 0, established: 0, suspended: 0, ended: 0 };
  /** While a load runs: what the feed said meanwhile is newer than what the load will say. */
  #since: Set<string> | undefined;
  #loads = 0;
  #frame = 0;
  #narrowing: ReturnType<typeof setTimeout> | undefined;
  #stops: readonly (() => void)[] = [];

  constructor(
    base: Filter = {},
    keeps: (row: SessionRow) => boolean = () => true,
    sortedBy: SortKey = "started",
  ) {
    this.sort = signal({ by: sortedBy, descending: true });
    this.#base = base;
    this.#keeps = keeps;
    this.#scope = base;
  }

  /** Loads and follows. Returns how to stop. */
  start(): () => void {
    this.#stops = [
      onFeed("rows", ({ changed, ended }) => this.#patch(changed, ended)),
      onFeed("gap", () => void this.load()),
    ];
    void this.load();
    return () => {
      for (const stop of this.#stops) stop();
      this.#loads++;
    };
  }

  row(handle: string): SessionRow | undefined {
    return this.#rows.get(handle);
  }

  /** All that is live here, whatever the filter. */
  *live(): Iterable<SessionRow> {
    for (const row of this.#rows.values()) if (row.state !== "ended") yield row;
  }

  get size(): number {
    return this.#rows.size;
  }

  /** How many wait to be shown. */
  get arrivals(): number {
    return this.#arrived.size;
  }

  /** How many of those shown have ended or no longer meet the filter. */
  get departures(): number {
    return this.#departed.size;
  }

  /** How many live sessions are here in each state. */
  get counts(): Readonly<Record<SessionRow["state"], number>> {
    return this.#counts;
  }

  /** Whether a row that is shown still belongs there. */
  isStale(row: SessionRow): boolean {
    return !this.#belongs(row);
  }

  /** Whether a row came in with the last `settle`. */
  isFresh(handle: string): boolean {
    return this.#fresh.has(handle);
  }

  /** The live sessions that the filter means now, whether shown already or not. */
  matching(): SessionRow[] {
    return [...this.live()].filter((row) => this.#belongs(row));
  }

  filterBy(filter: Filter): void {
    this.#filter = filter;
    this.#fresh = new Set();
    this.settle({ quiet: true });
    if (!this.truncated.peek()) return;
    clearTimeout(this.#narrowing);
    this.#narrowing = setTimeout(() => void this.load({ narrow: true }), TYPING_MS);
  }

  sortBy(by: SortKey): void {
    const { by: before, descending } = this.sort.peek();
    const first = by === "started" || by === "progress" || by === "confirmed";
    this.sort.value = { by, descending: by === before ? !descending : first };
    this.settle({ quiet: true });
  }

  /** Takes in what is new, lets go of what is over, and sorts. */
  settle({ quiet = false }: { quiet?: boolean } = {}): void {
    for (const [handle, row] of this.#rows) if (row.state === "ended") this.#rows.delete(handle);
    const found = this.matching();
    found.sort(comparison(this.sort.peek()));
    for (const { handle } of found.splice(MOST_KEPT)) this.#drop(handle);
    const order = found.map((row) => row.handle);
    const fresh = quiet ? [] : order.filter((handle) => !this.#shown.has(handle));
    // A few that come are worth a glance; many would make the list flicker.
    this.#fresh = new Set(fresh.length <= MOST_FRESH ? fresh : []);
    this.#shown = new Set(order);
    this.#arrived = new Set();
    this.#departed = new Set();
    this.#counts = { negotiating: 0, established: 0, suspended: 0, ended: 0 };
    for (const { state } of this.#rows.values()) this.#counts[state]++;
    batch(() => {
      this.order.value = order;
      this.#takeFacets();
      this.version.value++;
    });
  }

  async load({ narrow = false }: { narrow?: boolean } = {}): Promise<void> {
    const mine = ++this.#loads;
    const since = new Set<string>();
    this.#since = since;
    this.#scope = narrow ? { ...this.#filter, ...this.#base } : this.#base;
    this.loading.value = true;
    try {
      const seen = new Set<string>();
      const params = paramsOf(this.#scope);
      params.set("limit", "1000");
      let next: string | undefined;
      do {
        const page = await api.sessions(params);
        if (mine !== this.#loads) return;
        for (const row of page.sessions) {
          seen.add(row.handle);
          if (!since.has(row.handle) && this.#keeps(row)) this.#rows.set(row.handle, row);
        }
        // The first page is worth showing at once.
        if (next === undefined && this.#shown.size === 0) this.settle({ quiet: true });
        next = page.next;
        if (next !== undefined) params.set("after", next);
      } while (next !== undefined && seen.size < MOST_KEPT);
      this.truncated.value = next !== undefined || narrow;
      for (const handle of this.#rows.keys())
        if (!seen.has(handle) && !since.has(handle)) this.#rows.delete(handle);
      this.problem.value = "";
      this.settle({ quiet: true });
    } catch (error) {
      if (mine === this.#loads) this.problem.value = error instanceof Error ? error.message : String(error);
    } finally {
      if (mine === this.#loads) {
        this.loading.value = false;
        this.#since = undefined;
      }
    }
  }

  #patch(changed: readonly SessionRow[], ended: readonly SessionRow[]): void {
    for (const row of changed) this.#take(row);
    for (const row of ended) this.#take(row);
    if (this.#frame === 0)
      this.#frame = requestAnimationFrame(() => {
        this.#frame = 0;
        this.version.value++;
      });
  }

  #take(row: SessionRow): void {
    const { handle } = row;
    this.#since?.add(handle);
    const isOver = row.state === "ended";
    if (!this.#shown.has(handle)) {
      if (isOver || !this.#keeps(row) || !meets(row, this.#scope, Date.now())) {
        this.#drop(handle);
        return;
      }
      const isWanted = meets(row, this.#filter, Date.now());
      if (this.#rows.size >= MOST_KEPT && !this.#rows.has(handle)) {
        this.truncated.value = true;
        if (!isWanted) return;
      }
      if (isWanted) this.#arrived.add(handle);
      else this.#arrived.delete(handle);
    }
    this.#set(row);
    if (!this.#shown.has(handle)) return;
    if (this.#belongs(row)) this.#departed.delete(handle);
    else this.#departed.add(handle);
  }

  #set(row: SessionRow): void {
    const before = this.#rows.get(row.handle);
    if (before !== undefined) this.#counts[before.state]--;
    this.#counts[row.state]++;
    this.#rows.set(row.handle, row);
  }

  #drop(handle: string): void {
    const before = this.#rows.get(handle);
    if (before === undefined) return;
    this.#counts[before.state]--;
    this.#rows.delete(handle);
    this.#arrived.delete(handle);
  }

  #belongs(row: SessionRow | undefined): boolean {
    return (
      row !== undefined && row.state !== "ended" && this.#keeps(row) && meets(row, this.#filter, Date.now())
    );
  }

  #takeFacets(): void {
    const mechanisms = new Set(this.mechanisms.peek());
    const nodes = new Set(this.nodes.peek());
    for (const { mechanism, node } of this.#rows.values()) {
      mechanisms.add(mechanism);
      if (node !== undefined) nodes.add(node);
    }
    if (mechanisms.size !== this.mechanisms.peek().length) this.mechanisms.value = [...mechanisms].sort();
    if (nodes.size !== this.nodes.peek().length) this.nodes.value = [...nodes].sort();
  }
}

/** Takes new sessions in once a second as long as nobody is reading. Returns how to stop. */
export function follow(roster: Roster, isHeld: ReadonlySignal<boolean>): () => void {
  const look = (): void => {
    if (isHeld.peek() || document.hidden || roster.loading.peek()) return;
    if (roster.arrivals > 0 || roster.departures > 0) roster.settle();
  };
  const timer = setInterval(look, SETTLE_MS);
  const stop = effect(() => {
    if (!isHeld.value) look();
  });
  return () => {
    clearInterval(timer);
    stop();
  };
}

function comparison({ by, descending }: Sort): (a: SessionRow, b: SessionRow) => number {
  const way = descending ? -1 : 1;
  const values = VALUES[by];
  return (a, b) => {
    const [x, y] = [values(a), values(b)];
    if (x < y) return -way;
    if (x > y) return way;
    return b.createdAt - a.createdAt || (a.handle < b.handle ? -1 : 1);
  };
}

const VALUES: Readonly<Record<SortKey, (row: SessionRow) => string | number>> = {
  started: (row) => row.createdAt,
  principal: (row) => row.principal ?? "\uffff",
  mechanism: (row) => row.mechanism,
  state: (row) => row.state,
  node: (row) => row.node ?? "\uffff",
  progress: ({ checkpoint }) =>
    checkpoint?.total === undefined ? -1 : checkpoint.position / checkpoint.total,
  confirmed: (row) => row.checkpoint?.at ?? 0,
};

/** Sessions kept in the page at most; of more, the newest, and the gateway filters. */
const MOST_KEPT = 20_000;
const SETTLE_MS = 1000;
const MOST_FRESH = 8;
const TYPING_MS = 250;
