import {
  Chart,
  type ChartConfiguration,
  Filler,
  LinearScale,
  LineController,
  LineElement,
  PointElement,
  TimeScale,
  Tooltip,
} from "chart.js";
import "chartjs-adapter-date-fns";
import { formatMark, formatMoment, formatQuantity, formatTimeMark, formatValue } from "../format";
import type { TimeWindow, Trace } from "../history/trace";
import type { Language } from "../i18n/texts";
import type { Point } from "../state/series";
import { band } from "./band";
import { type Palette, paletteOf } from "./colours";
import type { Paintable } from "./painter";
import { axisMarks, axisRange, extremes } from "./range";

Chart.register(LineController, LineElement, PointElement, LinearScale, TimeScale, Filler, Tooltip);

/** Wide enough for "1,013.55", and the same in every row so that their times line up. */
const VALUE_AXIS_WIDTH = 54;
/** A mark at the very edge of the value axis reaches this far beyond it. */
const HALF_MARK = 7;
/** Narrower, the time axis has marks at its ends only. */
const ROOM_FOR_THREE = 260;
/** Sharper than this no eye sees, and a canvas costs the square of it. */
const MAX_PIXEL_RATIO = 2;

export interface TrendInput {
  readonly name: string;
  readonly unit: string;
  /** Has at least one point. */
  readonly trace: Trace;
  readonly window: TimeWindow;
  /** Whether the newest point waits for the server's database. */
  readonly isWaiting: boolean;
  readonly language: Language;
  readonly theme: string;
  readonly colourProperty: string;
  /** Whether the time axis has marks; one chart of a card speaks for all. */
  readonly showTime: boolean;
}

type LineChart = Chart<"line", Point[]>;

/** The moving line of one measurement. Takes the canvas when first painted, gives it back on `release`. */
export class Trend implements Paintable {
  readonly #canvas: HTMLCanvasElement;
  readonly #frame: HTMLElement;
  #input: TrendInput;
  #chart: LineChart | null = null;
  #language: Language | null = null;

  constructor(canvas: HTMLCanvasElement, frame: HTMLElement, input: TrendInput) {
    this.#canvas = canvas;
    this.#frame = frame;
    this.#input = input;
  }

  show(input: TrendInput): void {
    this.#input = input;
  }

  paint(): void {
    this.#chart ??= new Chart(this.#canvas, this.#configuration());
    this.#fill(this.#chart);
    this.#chart.update("none");
    const points = this.#input.trace.line.filter(({ y }) => !Number.isNaN(y));
    this.#canvas.dataset["points"] = String(points.length);
  }

  release(): void {
    this.#chart?.destroy();
    this.#chart = null;
  }

  #fill(chart: LineChart): void {
    const { trace, name, window, language, showTime } = this.#input;
    const palette = this.#palette();
    const [line, head, lonely] = chart.data.datasets;
    const { scales, plugins } = chart.options;
    if (!line || !head || !lonely || !scales?.["x"] || !scales["y"] || !plugins?.tooltip) return;

    line.data = [...trace.line];
    line.borderColor = palette.line;
    line.backgroundColor = palette.fill;
    head.data = trace.newest ? [trace.newest] : [];
    lonely.data = [...trace.lonely];
    lonely.backgroundColor = palette.line;

    const range = axisRange(name, extremes(trace.line));
    Object.assign(scales["y"], { min: range.low, max: range.high });
    Object.assign(scales["x"], { min: window.from, max: window.to });
    for (const scale of [scales["x"], scales["y"]]) {
      Object.assign(scale.ticks ?? {}, { color: palette.mark });
      Object.assign(scale.grid ?? {}, { color: palette.grid });
    }
    scales["x"].display = showTime;
    Object.assign(plugins.tooltip, {
      backgroundColor: palette.bubble,
      bodyColor: palette.paper,
    });
    this.#language = language;
  }

  #palette(): Palette {
    return paletteOf(this.#input.theme, this.#input.colourProperty, this.#frame, this.#canvas);
  }

  #configuration(): ChartConfiguration<"line", Point[]> {
    const font = { family: getComputedStyle(document.body).fontFamily, size: 11 };
    const locale = () => this.#language ?? this.#input.language;
    return {
      type: "line",
      data: {
        datasets: [
          { data: [], borderWidth: 1.5, pointRadius: 0, pointHitRadius: 0, fill: "start" },
          {
            data: [],
            pointBackgroundColor: () => {
              const { line, paper } = this.#palette();
              return this.#input.isWaiting ? paper : line;
            },
            pointBorderColor: () => this.#palette().line,
            pointBorderWidth: () => (this.#input.isWaiting ? 1.5 : 0),
            pointRadius: 2.75,
            pointHoverRadius: 2.75,
            clip: false,
          },
          { data: [], showLine: false, pointRadius: 1.25, pointHitRadius: 0, pointBorderWidth: 0 },
        ],
      },
      plugins: [
        band(
          () => this.#palette().band,
          () => this.#input.trace.line,
        ),
      ],
      options: {
        animation: false,
        responsive: true,
        maintainAspectRatio: false,
        parsing: false,
        normalized: true,
        devicePixelRatio: Math.min(window.devicePixelRatio, MAX_PIXEL_RATIO),
        layout: { autoPadding: false, padding: { top: HALF_MARK, bottom: HALF_MARK } },
        elements: { line: { borderJoinStyle: "round" } },
        interaction: { mode: "nearest", axis: "x", intersect: false },
        scales: {
          x: {
            type: "time",
            border: { display: false },
            grid: { display: false, drawTicks: false, tickLength: 0 },
            ticks: {
              font,
              padding: 6,
              autoSkip: false,
              align: "inner",
              maxRotation: 0,
              callback: (value) => this.#timeMark(Number(value)),
            },
            afterBuildTicks: (axis) => {
              axis.ticks = [{ value: axis.min }, { value: axis.max }];
              const middle = axis.min / 2 + axis.max / 2;
              if (axis.chart.width > ROOM_FOR_THREE) axis.ticks.splice(1, 0, { value: middle });
            },
            // The marks stay inside the plot; room beside it would shift this line against the others.
            afterFit: (axis) => {
              axis.paddingLeft = axis.paddingRight = 0;
            },
          },
          y: {
            position: "right",
            border: { display: false },
            grid: { drawTicks: false },
            ticks: {
              font,
              padding: 8,
              autoSkip: false,
              callback: (value) => {
                const { step } = axisMarks(
                  axisRange(this.#input.name, extremes(this.#input.trace.line)),
                );
                return formatMark(Number(value), step, locale());
              },
            },
            afterBuildTicks: (axis) => {
              const { marks } = axisMarks({ low: axis.min, high: axis.max });
              axis.ticks = marks.map((value) => ({ value }));
            },
            afterFit: (axis) => {
              axis.width = VALUE_AXIS_WIDTH;
              axis.paddingTop = axis.paddingBottom = 0;
            },
          },
        },
        plugins: {
          tooltip: {
            displayColors: false,
            caretSize: 0,
            caretPadding: 8,
            padding: { x: 8, y: 5 },
            cornerRadius: 6,
            bodyFont: font,
            filter: ({ datasetIndex }) => datasetIndex === 0,
            callbacks: {
              title: () => "",
              label: ({ raw }) => this.#tell(raw as Point, locale()),
            },
          },
        },
      },
    };
  }

  #tell(point: Point, language: Language): string {
    const { name, unit } = this.#input;
    const value = formatQuantity(name, point.y, unit, language);
    const moment = formatMoment(point.x, language);
    const { low, high } = point;
    if (low === undefined || high === undefined || low === high) return `${value} · ${moment}`;
    const least = formatValue(name, low, language);
    return `${value} (${least} – ${formatValue(name, high, language)}) · ${moment}`;
  }

  #timeMark(time: number): string {
    const { window, language } = this.#input;
    return formatTimeMark(time, window.to - window.from, language);
  }
}
