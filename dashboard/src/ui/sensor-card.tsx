import { useComputed } from "@preact/signals";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { colourProperties } from "../charts/colours";
import { stepOf, windowOf } from "../history/window";
import { csvUrl, type KnownSensor } from "../history/wire";
import type { Sensor } from "../state/sensor";
import { useDashboard, useTexts } from "./context";
import { Heard } from "./heard";
import { DownloadIcon } from "./icons";
import { Measurement, Newest } from "./measurement";
import { watchSight } from "./sight";
import { labelOf, unitOfMeasurement } from "./words";

/** Measurements on a card before it is asked for more, and how many may be hidden: not one or two. */
const FEW = 6;
const HIDDEN_FROM = 3;

interface SensorCardProps {
  readonly sensor: Sensor;
  readonly isRoomy: boolean;
}

export function SensorCard({ sensor, isRoomy }: SensorCardProps) {
  const { board, history } = useDashboard();
  const { texts } = useTexts();
  const heading = useId();
  const card = useRef<HTMLElement>(null);
  const [isVisible, setVisible] = useState(false);
  const [showsAll, setShowsAll] = useState(false);
  const stale = useComputed(() => {
    void board.revisionOf(sensor).value;
    const now = board.now.value;
    return now !== null && sensor.rhythm.isStale(now);
  });
  const waiting = useComputed(() => {
    void board.revisionOf(sensor).value;
    // What waits is also forgotten without a word from the sensor.
    void board.now.value;
    return [...sensor.series.values()].some((series) => board.isWaiting(sensor, series));
  });
  const step = useComputed(() => stepOf(board.now.value ?? 0, history.range.value));
  void board.revisionOf(sensor).value;

  useEffect(() => {
    if (!card.current) return;
    const unwatch = watchSight(card.current, (inSight) => {
      setVisible(inSight);
      board.setInSight(sensor, inSight);
    });
    return () => {
      unwatch();
      board.setInSight(sensor, false);
    };
  }, [board, sensor]);

  const all = [...sensor.series];
  const isMany = all.length >= FEW + HIDDEN_FROM;
  const isWide = isMany && showsAll;
  const shown = isMany && !showsAll ? all.slice(0, FEW) : all;
  const colours = colourProperties(sensor.series.keys());
  const isStale = stale.value;
  const isWaiting = waiting.value;
  // Until the history of another range is there, that of the one before stays.
  const range = sensor.history?.range ?? history.range.value;
  const window = windowOf(sensor, range, step.value);
  const isEmpty = shown.every(([, { newest }]) => (newest?.x ?? 0) < window.from);
  return (
    <article
      ref={card}
      aria-labelledby={heading}
      data-sensor={sensor.id}
      data-stale={isStale}
      data-waiting={isWaiting}
      class={`card flex flex-col rounded-2xl border border-line bg-surface p-4 pb-2 sm:p-5 sm:pb-3 ${isWide ? "col-span-full" : ""}`}
    >
      <div class="flex items-start justify-between gap-x-4 border-b border-line pb-3">
        <div class="min-w-0">
          <h2 id={heading} class="line-clamp-2 font-semibold wrap-anywhere" title={sensor.id}>
            <bdi>{sensor.name}</bdi>
          </h2>
          <Whereabouts id={sensor.id} known={sensor.known} />
        </div>
        <div class="flex shrink-0 items-center gap-1">
          <Heard sensor={sensor} isStale={isStale} isWaiting={isWaiting} />
          <Csv id={sensor.id} name={sensor.name} />
        </div>
      </div>
      {isEmpty ? (
        <div class={`flex grow flex-col gap-4 py-4 ${isStale ? "text-soft" : ""}`}>
          <div class="grid grid-cols-[repeat(auto-fill,minmax(7.5rem,1fr))] gap-x-3 gap-y-4">
            {shown.map(([name, series]) => (
              <div key={name} data-measurement={name}>
                <Newest
                  name={name}
                  label={labelOf(name, sensor, texts)}
                  unit={unitOfMeasurement(name, sensor)}
                  series={series}
                  newest={series.newest}
                />
              </div>
            ))}
          </div>
          <p class="text-sm text-faint">{texts.history.none[range.name]}</p>
        </div>
      ) : (
        <div
          class={`mt-1 grow ${isWide ? "grid grid-cols-[repeat(auto-fill,minmax(min(100%,20rem),1fr))] gap-x-10" : "flex flex-col"} ${isStale ? "text-soft [&_canvas]:opacity-45 [&_canvas]:grayscale" : ""}`}
        >
          {shown.map(([name, series], index) => (
            <Measurement
              key={name}
              sensor={sensor}
              name={name}
              series={series}
              window={window}
              colour={colours.get(name) ?? ""}
              isWaiting={board.isWaiting(sensor, series)}
              isVisible={isVisible}
              showTime={isWide || index === shown.length - 1}
              size={isWide ? "grid" : isRoomy ? "roomy" : "column"}
            />
          ))}
        </div>
      )}
      {isMany && (
        <button
          type="button"
          aria-expanded={showsAll}
          onClick={() => setShowsAll(!showsAll)}
          class="mt-2 rounded-lg py-1 text-sm font-medium text-accent hover:bg-raised"
        >
          {showsAll ? texts.board.fewerMeasurements : texts.board.allMeasurements(all.length)}
        </button>
      )}
    </article>
  );
}

/** The id of a sensor that has a name, and its place. */
function Whereabouts(props: { readonly id: string; readonly known: KnownSensor | null }) {
  const { name, location } = props.known ?? { name: null, location: null };
  const parts = [...(name === null ? [] : [props.id]), ...(location === null ? [] : [location])];
  if (parts.length === 0) return null;
  return (
    <p class="mt-0.5 line-clamp-2 text-xs text-faint wrap-anywhere">
      {parts.map((part, index) => (
        <span key={part}>
          {index > 0 && <span aria-hidden="true"> · </span>}
          <bdi>{part}</bdi>
        </span>
      ))}
    </p>
  );
}

/** The browser saves what the server sends, piece by piece, as the session that its cookie stands for. */
function Csv({ id, name }: { readonly id: string; readonly name: string }) {
  const range = useDashboard().history.range.value;
  const { texts } = useTexts();
  const label = texts.history.csv(name, texts.history.ranges[range.name]);
  return (
    <a
      href={csvUrl(range, id)}
      download=""
      aria-label={label}
      title={label}
      class="-my-1 -mr-2 flex size-8 items-center justify-center rounded-lg text-faint transition-colors hover:bg-raised hover:text-ink"
    >
      <DownloadIcon />
    </a>
  );
}
