import { useLayoutEffect, useRef } from "preact/hooks";
import { painter } from "../charts/painter";
import { extremes } from "../charts/range";
import { Trend, type TrendInput } from "../charts/trend";
import { decimalsOf, formatQuantity, formatValue } from "../format";
import { type TimeWindow, type Trace, traceOf } from "../history/trace";
import type { Language, Texts } from "../i18n/texts";
import type { Sensor } from "../state/sensor";
import type { Point, Series } from "../state/series";
import { useDashboard, useTexts } from "./context";
import { labelOf, unitOfMeasurement } from "./words";

/** Of the newest points, those that decide how many decimals the value has. */
const NEIGHBOURS = 60;

interface MeasurementProps {
  readonly sensor: Sensor;
  readonly name: string;
  readonly series: Series;
  readonly window: TimeWindow;
  /** The style sheet's property with its colour. */
  readonly colour: string;
  readonly isWaiting: boolean;
  readonly isVisible: boolean;
  readonly showTime: boolean;
  readonly size: RowSize;
}

/** Rows of a column grow together when a neighbour's card is higher, within reason; in a grid they are alike. */
export type RowSize = "roomy" | "column" | "grid";

interface TrendChartProps extends MeasurementProps {
  readonly unit: string;
  readonly trace: Trace;
  readonly label: string;
}

/** One measurement of a sensor: its name, its value now, and its line. */
export function Measurement(props: MeasurementProps) {
  const { sensor, name, series, window, size, showTime, isVisible } = props;
  const { board, history } = useDashboard();
  const { texts, language } = useTexts();
  const { newest } = series;
  if (!newest) return null;
  const label = labelOf(name, sensor, texts);
  const unit = unitOfMeasurement(name, sensor);
  const range = sensor.history?.range ?? history.range.value;
  // A chart of the last moments would be another one as soon as the history is there.
  const isComing = sensor.history === null && history.state.value !== "late";
  const trace = isVisible && !isComing ? traceOf(series, window, board.liveSince.value) : NOTHING;
  const isRoomy = size === "roomy";
  return (
    <div
      data-measurement={name}
      class={`grid grid-cols-[7.5rem_minmax(0,1fr)] gap-3 py-2 ${isRoomy ? "sm:grid-cols-[9.5rem_minmax(0,1fr)]" : ""} ${heightOf(size, showTime)}`}
    >
      <div class="pt-1">
        <Newest
          name={name}
          label={label}
          unit={unit}
          series={series}
          newest={newest}
          isLarge={isRoomy}
        />
      </div>
      {newest.x >= window.from ? (
        <TrendChart
          {...props}
          unit={unit}
          trace={trace}
          label={describe(name, label, unit, trace, newest.y, texts, language)}
        />
      ) : (
        <p class="flex items-center justify-center text-center text-xs text-pretty text-faint">
          {texts.history.none[range.name]}
        </p>
      )}
    </div>
  );
}

/** Whatever can change is here: a component whose properties are the same is not rendered again. */
interface NewestProps {
  readonly name: string;
  readonly label: string;
  readonly unit: string;
  readonly series: Series;
  readonly newest: Point | undefined;
  readonly isLarge?: boolean;
}

/** What a measurement is called, and its newest value. */
export function Newest(props: NewestProps) {
  const { name, label, unit, series, newest, isLarge = false } = props;
  const { language } = useTexts();
  const neighbours = series.points.slice(-NEIGHBOURS).map(({ y }) => y);
  const value = formatValue(name, newest?.y ?? 0, language, decimalsOf(neighbours));
  return (
    <div class="min-w-0">
      <p class="truncate text-[0.8125rem] text-soft" title={name}>
        <bdi>{label}</bdi>
      </p>
      <p class="mt-0.5 flex flex-wrap items-baseline gap-x-1">
        <span data-value class={`font-medium tracking-tight ${sizeOf(value, isLarge)}`}>
          {value}
        </span>
        <span class="max-w-full truncate text-sm text-soft">
          <bdi>{unit}</bdi>
        </span>
      </p>
    </div>
  );
}

const NOTHING: Trace = { line: [], lonely: [], newest: null };

function TrendChart(props: TrendChartProps) {
  const { name, unit, trace, window, colour, isWaiting, isVisible, showTime, label } = props;
  const { language, theme } = useDashboard();
  const frame = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const trend = useRef<Trend | null>(null);
  const input: TrendInput = {
    name,
    unit,
    trace,
    window,
    isWaiting,
    language: language.chosen.value,
    theme: theme.inForce.value,
    colourProperty: colour,
    showTime,
  };

  const release = () => {
    if (!trend.current) return;
    painter.cancel(trend.current);
    trend.current.release();
    trend.current = null;
  };

  // Without a list of dependencies: the card renders only when there is something new to draw.
  useLayoutEffect(() => {
    if (!isVisible || !trace.newest) {
      release();
    } else if (canvas.current && frame.current) {
      trend.current ??= new Trend(canvas.current, frame.current, input);
      trend.current.show(input);
      painter.request(trend.current);
    }
  });
  useLayoutEffect(() => release, []);

  return (
    <div ref={frame} class="relative min-w-0 border-grid text-faint">
      <canvas
        ref={canvas}
        role="img"
        aria-label={label}
        data-points={0}
        class="absolute inset-0"
        style={{ color: `var(${colour})` }}
      />
    </div>
  );
}

/** The row that shows the time is higher by its marks, so that all lines are equally high. */
function heightOf(size: RowSize, showTime: boolean): string {
  if (size === "grid") return "h-28";
  if (size === "roomy") {
    return showTime ? "grow basis-[9.625rem] max-h-[14.375rem]" : "grow basis-32 max-h-52";
  }
  return showTime ? "grow basis-[6.625rem] max-h-[9.375rem]" : "grow basis-[5.25rem] max-h-32";
}

/** A long number gets a smaller type rather than the room of its chart. */
function sizeOf(value: string, isRoomy: boolean): string {
  if (value.length > 9) return "text-base";
  if (value.length > 7) return "text-xl";
  return isRoomy ? "text-2xl sm:text-3xl" : "text-2xl";
}

function describe(
  name: string,
  label: string,
  unit: string,
  { line, newest }: Trace,
  latest: number,
  texts: Texts,
  language: Language,
): string {
  const quantity = (value: number) => formatQuantity(name, value, unit, language);
  if (!newest) return `${label}: ${quantity(latest)}`;
  const { low, high } = extremes(line);
  return texts.chart.label(label, quantity(latest), quantity(low), quantity(high));
}
