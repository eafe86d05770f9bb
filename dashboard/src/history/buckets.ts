import type { Range } from "./ranges";

/** What the readings of one measurement come to in a stretch of time that begins at `at`. */
export interface Bucket {
  readonly at: number;
  readonly count: number;
  readonly average: number;
  readonly low: number;
  readonly high: number;
}

/** What the histories of a sensor have in common. */
export interface HistoryFrame {
  readonly range: Range;
  /** How long its buckets are. */
  readonly width: number;
  /** By the server's clock: what it received before is in it. */
  readonly asOf: number;
}

/** One measurement over a range, in buckets, of which the empty ones are left out. */
export class History {
  readonly frame: HistoryFrame;
  readonly #buckets: Bucket[];

  /** The buckets are in order of time. */
  constructor(frame: HistoryFrame, buckets: readonly Bucket[]) {
    this.frame = frame;
    this.#buckets = [...buckets];
  }

  get buckets(): readonly Bucket[] {
    return this.#buckets;
  }

  /** Takes in a reading that is not in it yet. Buckets that the range has left behind go. */
  add(x: number, y: number): void {
    const { range, width } = this.frame;
    const buckets = this.#buckets;
    const at = Math.floor(x / width) * width;
    const newest = Math.max(at, buckets.at(-1)?.at ?? at);
    if (at < newest - range.span) return;
    let index = buckets.length;
    // Almost always the last one, so it is looked for from there.
    while (index > 0 && (buckets[index - 1]?.at ?? at) > at) index -= 1;
    const before = buckets[index - 1];
    if (before?.at === at) buckets[index - 1] = joined(before, y);
    else buckets.splice(index, 0, { at, count: 1, average: y, low: y, high: y });
    while ((buckets[0]?.at ?? newest) < newest - range.span) buckets.shift();
  }
}

function joined({ at, count, average, low, high }: Bucket, y: number): Bucket {
  return {
    at,
    count: count + 1,
    average: average + (y - average) / (count + 1),
    low: Math.min(low, y),
    high: Math.max(high, y),
  };
}
