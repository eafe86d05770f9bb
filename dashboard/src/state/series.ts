export interface Point {
  readonly x: number;
  readonly y: number;
}

/** The newest points of one measurement, in order of time, each time once. */
export class Series {
  readonly #limit: number;
  readonly #points: Point[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  get points(): readonly Point[] {
    return this.#points;
  }

  get newest(): Point | undefined {
    return this.#points.at(-1);
  }

  /**
   * Puts a point in its place. One of the same time is replaced, unless the new one is
   * provisional, and the answer is false. Beyond the limit the oldest goes.
   */
  put(x: number, y: number, isProvisional = false): boolean {
    const points = this.#points;
    const at = this.#placeOf(x);
    if (points[at]?.x === x) {
      // Where two readings contradict each other, the database keeps the first.
      if (!isProvisional) points[at] = { x, y };
      return false;
    }
    if (at === points.length) points.push({ x, y });
    else points.splice(at, 0, { x, y });
    if (points.length > this.#limit) points.shift();
    return true;
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
