import { isKnown, type KnownMeasurement } from "../state/measurements";
import type { Point } from "../state/series";

/** Less than this is noise of the sensor and must not fill the chart. */
const LEAST_SPAN: Readonly<Record<KnownMeasurement, number>> = {
  temperature: 1,
  humidity: 2,
  pressure: 1,
};
const LEAST_RELATIVE_SPAN = 0.02;
const PADDING = 0.1;

export interface ValueRange {
  readonly low: number;
  readonly high: number;
}

/** The smallest and largest value of what the points stand for. There is at least one with a value. */
export function extremes(points: readonly Point[]): ValueRange {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const point of points) {
    // Comparing with NaN, which parts a line, is never true.
    const least = point.low ?? point.y;
    const most = point.high ?? point.y;
    if (least < low) low = least;
    if (most > high) high = most;
  }
  return { low, high };
}

/** What the value axis covers: the extremes with some air, and never so little that noise looks large. */
export function axisRange(name: string, { low, high }: ValueRange): ValueRange {
  const middle = low / 2 + high / 2;
  const least = isKnown(name) ? LEAST_SPAN[name] : Math.abs(middle) * LEAST_RELATIVE_SPAN || 1;
  const half = Math.max(high / 2 - low / 2, least / 2) * (1 + PADDING * 2);
  return { low: middle - half, high: middle + half };
}

/** Two to four round values inside the range, and the step between them. */
export function axisMarks({ low, high }: ValueRange): { marks: number[]; step: number } {
  const span = high - low;
  const step = roundStep(span / 2);
  const marks: number[] = [];
  if (!(step > 0) || !Number.isFinite(span)) return { marks, step: 0 };
  const first = Math.ceil(low / step);
  for (let index = 0; index < 4; index += 1) {
    // Multiplying keeps 0.3 from becoming 0.30000000000000004 by addition.
    const mark = (first + index) * step;
    if (mark > high) break;
    marks.push(mark);
  }
  return { marks, step };
}

/** The largest of 1, 2 or 5 times a power of ten that is not above `size`. */
function roundStep(size: number): number {
  const power = 10 ** Math.floor(Math.log10(size));
  const factor = size / power;
  return (factor >= 5 ? 5 : factor >= 2 ? 2 : 1) * power;
}
