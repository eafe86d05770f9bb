import { STALE_AT_LEAST, STALE_INTERVALS } from "../state/rhythm";
import type { Point, Series } from "../state/series";

/** The stretch of time that a chart shows. */
export interface TimeWindow {
  readonly from: number;
  readonly to: number;
}

/** What a chart draws of one measurement. */
export interface Trace {
  /** In order of time; a point without a value (NaN) parts the line. */
  readonly line: readonly Point[];
  /** Points with a gap on both sides, which no line shows. */
  readonly lonely: readonly Point[];
  readonly newest: Point | null;
}

/** So many empty buckets in a row are a gap, where a sensor is else heard in each. */
const EMPTY_BUCKETS = 2.5;

/**
 * History, then what arrived live, as one line. `liveSince` is the time from which on the live
 * stream was whole.
 */
export function traceOf(series: Series, window: TimeWindow, liveSince: number): Trace {
  const points = pointsOf(series, window, liveSince);
  const longest = longestStep(points, series.history?.frame.width ?? 0);
  const line: Point[] = [];
  const lonely: Point[] = [];
  let isAlone = true;
  for (const [index, point] of points.entries()) {
    const next = points[index + 1];
    const isParted = next !== undefined && next.x - point.x > longest;
    line.push(point);
    if (isAlone && (isParted || next === undefined)) lonely.push(point);
    if (isParted) line.push({ x: (point.x + next.x) / 2, y: Number.NaN });
    isAlone = isParted;
  }
  return { line, lonely, newest: points.at(-1) ?? null };
}

function pointsOf(series: Series, { from, to }: TimeWindow, liveSince: number): Point[] {
  const { history, newest } = series;
  const isIn = ({ x }: Point) => x >= from && x <= to;
  if (!history) return series.points.filter(isIn);
  const { range, width } = history.frame;
  const seam = range.showsReadings ? seamOf(series, width, liveSince) : Number.POSITIVE_INFINITY;
  const end = Math.min(to, newest?.x ?? Number.POSITIVE_INFINITY);
  const points: Point[] = [];
  for (const { at, count, average, low, high } of history.buckets) {
    const x = at + width / 2;
    const isNewestAlone = count === 1 && at + width > end;
    if (x >= from && x < end && at < seam && !isNewestAlone) {
      points.push({ x, y: average, low, high });
    }
  }
  for (const point of series.points) if (point.x >= seam && isIn(point)) points.push(point);
  // The line ends with the value that stands beside it.
  if (newest && isIn(newest) && (points.at(-1)?.x ?? from - 1) < newest.x) points.push(newest);
  return points;
}

/**
 * Where buckets end and single readings begin: between two buckets, so that nothing is in both. The
 * bucket in which the stream began gives way to its readings; the one of which readings are gone stays.
 */
function seamOf({ wholeSince }: Series, width: number, liveSince: number): number {
  return Math.max(Math.floor(liveSince / width), Math.ceil(wholeSince / width)) * width;
}

/** Points further apart than this have a gap between them, by the sensor's own habit. */
function longestStep(points: readonly Point[], bucket: number): number {
  if (points.length < 3) return Number.POSITIVE_INFINITY;
  const steps = new Float64Array(points.length - 1);
  for (let index = 1; index < points.length; index += 1) {
    steps[index - 1] = (points[index]?.x ?? 0) - (points[index - 1]?.x ?? 0);
  }
  const usual = steps.sort()[steps.length >>> 1] ?? 0;
  const isInEach = usual <= bucket;
  return Math.max(STALE_AT_LEAST, isInEach ? EMPTY_BUCKETS * bucket : STALE_INTERVALS * usual);
}
