import type { Sensor } from "../state/sensor";
import type { Range } from "./ranges";
import type { TimeWindow } from "./trace";

/** A chart moves on by about a pixel at a time. */
const STEPS = 400;
/** One moment has no span; it stands at the right edge of a minute. */
const SHORTEST = 60_000;

/** The server's time in the steps in which the charts of the range move. */
export function stepOf(now: number, { span }: Range): number {
  const step = span / STEPS;
  return Math.floor(now / step) * step;
}

/**
 * The time that the charts of a sensor share: the range up to now. Where readings are told apart,
 * that of a new sensor begins with its first one. Of one that sends what it measured long ago: that.
 */
export function windowOf(sensor: Sensor, range: Range, now: number): TimeWindow {
  const times = [...sensor.series.values()].flatMap(({ newest }) => newest?.x ?? []);
  const newest = Math.max(...times);
  const to = Math.max(stepOf(now, range), newest);
  const from = to - range.span;
  if (newest < from) return pastOf(sensor, newest) ?? { from, to };
  if (!range.showsReadings || sensor.firstSeen <= from) return { from, to };
  return { from: Math.min(earliestOf(sensor, from), to - SHORTEST), to };
}

/** From the oldest to the newest point that has arrived, where one measurement has more than one. */
function pastOf(sensor: Sensor, newest: number): TimeWindow | null {
  const lines = [...sensor.series.values()].filter(({ points }) => points.length > 1);
  const oldest = Math.min(...lines.map(({ points }) => points[0]?.x ?? newest));
  return oldest < newest ? { from: oldest, to: newest } : null;
}

function earliestOf(sensor: Sensor, from: number): number {
  let earliest = Number.POSITIVE_INFINITY;
  for (const { points, history } of sensor.series.values()) {
    const half = (history?.frame.width ?? 0) / 2;
    const times = [points[0]?.x ?? earliest, (history?.buckets[0]?.at ?? earliest) + half];
    for (const time of times) earliest = Math.min(earliest, time);
  }
  return Math.max(earliest, from);
}
