import { useLayoutEffect, useRef } from "preact/hooks";
import { colourProperty } from "../charts/colours";
import { painter } from "../charts/painter";
import { extremes } from "../charts/range";
import { Trend, type TrendInput } from "../charts/trend";
import { formatQuantity, formatValue, unitOf } from "../format";
import type { Language, Texts } from "../i18n/texts";
import { isKnown } from "../state/measurements";
import type { Series } from "../state/series";
import { useDashboard, useTexts } from "./context";

interface MeasurementProps {
  readonly name: string;
  readonly series: Series;
  readonly window: { readonly from: number; readonly to: number };
  readonly isWaiting: boolean;
  readonly isVisible: boolean;
  readonly showTime: boolean;
  readonly isRoomy: boolean;
}

/** One measurement of a sensor: its name, its value now, and its line. */
export function Measurement(props: MeasurementProps) {
  const { name, series, isRoomy, showTime } = props;
  const { texts, language } = useTexts();
  const newest = series.newest;
  if (!newest) return null;
  const value = formatValue(name, newest.y, language);
  return (
    <div
      data-measurement={name}
      class={`grid grid-cols-[7.5rem_minmax(0,1fr)] gap-3 py-2 ${isRoomy ? "sm:grid-cols-[9.5rem_minmax(0,1fr)]" : ""} ${heightOf(isRoomy, showTime)}`}
    >
      <div class="min-w-0 pt-1">
        <p class="truncate text-[0.8125rem] text-soft" title={name}>
          {nameOf(name, texts)}
        </p>
        <p class="mt-0.5 flex flex-wrap items-baseline gap-x-1">
          <span data-value class={`font-medium tracking-tight ${sizeOf(value, isRoomy)}`}>
            {value}
          </span>
          <span class="text-sm text-soft">{unitOf(name)}</span>
        </p>
      </div>
      <TrendChart {...props} label={describe(name, series, newest.y, texts, language)} />
    </div>
  );
}

function TrendChart(props: MeasurementProps & { readonly label: string }) {
  const { name, series, window, isWaiting, isVisible, showTime, label } = props;
  const { language, theme } = useDashboard();
  const frame = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const trend = useRef<Trend | null>(null);
  const input: TrendInput = {
    name,
    points: series.points,
    from: window.from,
    to: window.to,
    isWaiting,
    language: language.chosen.value,
    theme: theme.inForce.value,
    colourProperty: colourProperty(name),
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
    if (!isVisible) {
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
        style={{ color: `var(${input.colourProperty})` }}
      />
    </div>
  );
}

/**
 * The row that shows the time is higher by its marks, so that all lines are equally high. Rows grow
 * together when a neighbour's card is higher, within reason.
 */
function heightOf(isRoomy: boolean, showTime: boolean): string {
  if (isRoomy) {
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

function nameOf(name: string, texts: Texts): string {
  return isKnown(name) ? texts.measurements[name] : name;
}

function describe(
  name: string,
  series: Series,
  latest: number,
  texts: Texts,
  language: Language,
): string {
  const { low, high } = extremes(series.points);
  return texts.chart.label(
    nameOf(name, texts),
    formatQuantity(name, latest, language),
    formatQuantity(name, low, language),
    formatQuantity(name, high, language),
  );
}
