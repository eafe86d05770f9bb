/** Readings closer together than this came in one burst and say nothing about the interval. */
const BURST = 1_000;
const REMEMBERED = 8;
/** A sensor that has not shown its interval yet. */
export const STALE_UNKNOWN = 5 * 60_000;
/** A short hiccup of a fast sensor is no news. */
export const STALE_AT_LEAST = 30_000;
export const STALE_INTERVALS = 4;

/** How often a sensor is usually heard, learned from the last few times. */
export class Rhythm {
  #gaps: number[] = [];
  #burstBegan: number | null = null;
  #heardAt = Number.NEGATIVE_INFINITY;

  /** The latest time it was heard, by the server's clock. */
  get heardAt(): number {
    return this.#heardAt;
  }

  heard(at: number): void {
    if (at > this.#heardAt) this.#heardAt = at;
    if (this.#burstBegan === null) {
      this.#burstBegan = at;
      return;
    }
    const gap = at - this.#burstBegan;
    if (gap < BURST) return;
    this.#burstBegan = at;
    this.#gaps.push(gap);
    if (this.#gaps.length > REMEMBERED) this.#gaps.shift();
  }

  /** Notes when it was heard before this page listened, which says nothing about the interval. */
  heardBefore(at: number): void {
    if (at > this.#heardAt) this.#heardAt = at;
  }

  /** The middle one of the last intervals, or null before the second. */
  get usualInterval(): number | null {
    if (this.#gaps.length < 2) return null;
    const sorted = [...this.#gaps].sort((a, b) => a - b);
    return sorted[sorted.length >>> 1] ?? null;
  }

  /** Whether it has been silent for long, compared with its own habit. */
  isStale(now: number): boolean {
    const usual = this.usualInterval;
    const limit =
      usual === null ? STALE_UNKNOWN : Math.max(STALE_AT_LEAST, STALE_INTERVALS * usual);
    return now - this.#heardAt > limit;
  }
}
