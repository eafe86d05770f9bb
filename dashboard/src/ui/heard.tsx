import { formatAgo, formatMoment } from "../format";
import type { Sensor } from "../state/sensor";
import { useDashboard, useTexts } from "./context";

interface HeardProps {
  readonly sensor: Sensor;
  readonly isStale: boolean;
  readonly isWaiting: boolean;
}

const MARK = "rounded-full border border-current px-2 text-xs font-medium";

/** When the sensor was last heard, by the server's clock, ticking. */
export function Heard({ sensor, isStale, isWaiting }: HeardProps) {
  const { board } = useDashboard();
  const { texts, language } = useTexts();
  const now = board.now.value;
  void board.revisionOf(sensor).value;
  const { heardAt } = sensor.rhythm;
  if (now === null) return null;
  return (
    <span
      class={`flex shrink-0 items-baseline gap-2 text-sm ${isStale ? "text-caution" : "text-soft"}`}
    >
      {isWaiting && (
        <span class={`${MARK} border-dashed`} title={texts.provisional.hint}>
          {texts.provisional.mark}
        </span>
      )}
      {isStale && <span class={MARK}>{texts.board.stale}</span>}
      <time dateTime={new Date(heardAt).toISOString()} title={formatMoment(heardAt, language)}>
        {formatAgo(now - heardAt, language)}
      </time>
    </span>
  );
}
