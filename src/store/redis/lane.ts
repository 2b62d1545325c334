/** How often one call is let through to see whether a node answers again. */
const PROBE_MS = 50;
/** After this long the estimate of the server's clock is taken anew, so that one that was set back is followed. */
const ESTIMATE_MS = 10_000;

/** What is known about the way to one node: whether it answers, and what time it is there. */
export class Lane {
  /** Set by a call that got no answer, taken back by the next that does. */
  down = false;
  #probeAt = 0;
  /** The server's clock minus ours (the monotonic one); never more than it really is, less by an answer's way back. */
  #offset = 0;
  #estimatedAt = -Infinity;

  fell(now: number): void {
    this.down = true;
    this.#probeAt = now + PROBE_MS;
  }

  /** True when a call should fail at once; false lets it through, and while down only one in a while. */
  refuses(now: number): boolean {
    if (!this.down) return false;
    if (now < this.#probeAt) return true;
    this.#probeAt = now + PROBE_MS;
    return false;
  }

  /** An instant of the monotonic clock in the server's time; 0, which is always too late, while that is not known. */
  serverTime(at: number): number {
    return this.#estimatedAt === -Infinity ? 0 : Math.floor(this.#offset + at);
  }

  learn(serverTime: number, afresh: boolean): void {
    const now = performance.now();
    const offset = serverTime - now;
    if (!afresh && offset <= this.#offset && now < this.#estimatedAt + ESTIMATE_MS) return;
    this.#offset = offset;
    this.#estimatedAt = now;
  }
}
