const WINDOW_SECONDS = 10;

/** How many readings a second arrived lately, over the last ten seconds. */
export class RateMeter {
  readonly #counts = new Array<number>(WINDOW_SECONDS).fill(0);
  #since: number | null = null;
  #second = 0;

  /** Counts one reading at a monotonic time in milliseconds. */
  count(now: number): void {
    this.#advance(now);
    const slot = this.#second % WINDOW_SECONDS;
    this.#counts[slot] = (this.#counts[slot] ?? 0) + 1;
  }

  perSecond(now: number): number {
    this.#advance(now);
    // The current second has only begun: it counts for as much as has passed of it.
    const covered = WINDOW_SECONDS - 1 + (now % 1000) / 1000;
    const elapsed = (now - (this.#since ?? now)) / 1000;
    const seconds = Math.min(Math.max(elapsed, 1), covered);
    return this.#counts.reduce((sum, count) => sum + count, 0) / seconds;
  }

  reset(): void {
    this.#counts.fill(0);
    this.#since = null;
  }

  #advance(now: number): void {
    const second = Math.floor(now / 1000);
    if (this.#since === null) {
      this.#since = now;
      this.#second = second;
    }
    const passed = Math.min(second - this.#second, WINDOW_SECONDS);
    for (let step = 1; step <= passed; step += 1) {
      this.#counts[(this.#second + step) % WINDOW_SECONDS] = 0;
    }
    if (passed > 0) this.#second = second;
  }
}
