import { useComputed } from "@preact/signals";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import type { Sensor } from "../state/sensors";
import { useDashboard, useTexts } from "./context";
import { Heard } from "./heard";
import { Measurement } from "./measurement";
import { watchSight } from "./sight";

/** Measurements on a card before it is asked for more. */
const FEW = 6;

interface SensorCardProps {
  readonly sensor: Sensor;
  readonly isRoomy: boolean;
}

export function SensorCard({ sensor, isRoomy }: SensorCardProps) {
  const { board } = useDashboard();
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
  const shown = showsAll ? all : all.slice(0, FEW);
  const isStale = stale.value;
  const isWaiting = waiting.value;
  return (
    <article
      ref={card}
      aria-labelledby={heading}
      data-sensor={sensor.id}
      data-stale={isStale}
      data-waiting={isWaiting}
      class="card flex flex-col rounded-2xl border border-line bg-surface p-4 pb-2 sm:p-5 sm:pb-3"
    >
      <div class="flex flex-wrap items-baseline justify-between gap-x-4 gap-y-1 border-b border-line pb-3">
        <h2 id={heading} class="line-clamp-2 min-w-0 font-semibold wrap-anywhere" title={sensor.id}>
          <bdi>{sensor.id}</bdi>
        </h2>
        <Heard sensor={sensor} isStale={isStale} isWaiting={isWaiting} />
      </div>
      <div
        class={`mt-1 flex grow flex-col ${isStale ? "text-soft [&_canvas]:opacity-45 [&_canvas]:grayscale" : ""}`}
      >
        {shown.map(([name, series], index) => (
          <Measurement
            key={name}
            name={name}
            series={series}
            window={sensor.window}
            isWaiting={board.isWaiting(sensor, series)}
            isVisible={isVisible}
            showTime={index === shown.length - 1}
            isRoomy={isRoomy}
          />
        ))}
      </div>
      {all.length > FEW && (
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
