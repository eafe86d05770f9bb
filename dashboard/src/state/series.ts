import type { History } from "../history/buckets";

export interface Point {
  readonly x: number;
  readonly y: number;
  /** Of what the point stands for, where that is more than one reading. */
  readonly low?: number;
  readonly high?: number;
}

interface LivePoint extends Point {
  readonly receivedAt: number;
}

/** One measurement: its newest points as they arrived, each time once, and the history behind them. */
export class Series {
  readonly #limit: number;
  readonly #points: LivePoint[] = [];
  #history: History | null = null;
  #wholeSince = Number.NEGATIVE_INFINITY;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** In order of time. */
  get points(): readonly Point[] {
    return this.#points;
  }

  get newest(): Point | undefined {
    return this.#points.at(-1);
  }

  get history(): History | null {
    return this.#history;
  }

  /** From here on no point had to go. */
  get wholeSince(): number {
    return this.#wholeSince;
  }

  /**
   * Puts a point in its place. One of the same time is replaced, unless the new one is
   * provisional, and the answer is false. Beyond the limit the oldest goes.
   */
  put(x: number, y: number, isProvisional = false, receivedAt: number = x): boolean {
    const points = this.#points;
    const at = this.#placeOf(x);
    const point = { x, y, receivedAt };
    if (points[at]?.x === x) {
      // Where two readings contradict each other, the database keeps the first.
      if (!isProvisional) points[at] = point;
      return false;
    }
    if (at === points.length) points.push(point);
    else points.splice(at, 0, point);
    if (points.length > this.#limit) {
      points.shift();
      this.#wholeSince = points[0]?.x ?? x;
    }
    this.#remember(point);
    return true;
  }

  /** Puts a history behind the points, with those that arrived while it was on its way. */
  setHistory(history: History | null): void {
    this.#history = history;
    for (const point of this.#points) this.#remember(point);
  }

  #remember({ x, y, receivedAt }: LivePoint): void {
    if (this.#history && receivedAt >= this.#history.frame.asOf) this.#history.add(x, y);
  }

  /** The index of the first point that is not before `x`. Almost always the end, so it looks there first. */
  #placeOf(x: number): number {
    const points = this.#points;
    const newest = points.at(-1);
    if (newest === undefined || newest.x < x) return points.length;
    let low = 0;
    let high = points.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const point = points[middle];
      if (point !== undefined && point.x < x) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
