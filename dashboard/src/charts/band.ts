import type { Chart, Plugin } from "chart.js";
import type { Point } from "../state/series";

/** A stretch with gaps on both sides is a mark of this width, in pixels. */
const LONELY_WIDTH = 2;

/** Draws what lies between the least and the most of each bucket, behind the lines. */
export function band(colour: () => string, line: () => readonly Point[]): Plugin<"line"> {
  return {
    id: "band",
    beforeDatasetsDraw(chart) {
      const { ctx, chartArea } = chart;
      ctx.save();
      ctx.beginPath();
      ctx.rect(chartArea.left, chartArea.top, chartArea.width, chartArea.height);
      ctx.clip();
      ctx.fillStyle = colour();
      ctx.beginPath();
      for (const part of parts(line())) outline(chart, part);
      ctx.fill();
      ctx.restore();
    },
  };
}

/** The stretches between the gaps, without those that have no breadth. */
function* parts(line: readonly Point[]): Generator<Point[]> {
  let part: Point[] = [];
  for (const point of line) {
    if (!Number.isNaN(point.y)) {
      part.push(point);
      continue;
    }
    if (part.some(isBroad)) yield part;
    part = [];
  }
  if (part.some(isBroad)) yield part;
}

function isBroad({ low, high }: Point): boolean {
  return low !== undefined && high !== undefined && low < high;
}

function outline({ ctx, scales }: Chart, part: readonly Point[]): void {
  const { x, y } = scales;
  if (!x || !y) return;
  const half = part.length === 1 ? LONELY_WIDTH / 2 : 0;
  for (const [index, point] of part.entries()) {
    const across = x.getPixelForValue(point.x) - half;
    const up = y.getPixelForValue(point.high ?? point.y);
    if (index === 0) ctx.moveTo(across, up);
    else ctx.lineTo(across, up);
    if (half > 0) ctx.lineTo(across + LONELY_WIDTH, up);
  }
  for (const point of part.toReversed()) {
    const across = x.getPixelForValue(point.x) + half;
    const up = y.getPixelForValue(point.low ?? point.y);
    ctx.lineTo(across, up);
    if (half > 0) ctx.lineTo(across - LONELY_WIDTH, up);
  }
  ctx.closePath();
}
