import { useComputed } from "@preact/signals";
import { useId, useState } from "preact/hooks";
import { formatCount } from "../format";
import { chooseShown } from "../state/roster";
import type { Sensor } from "../state/sensor";
import { useDashboard, useTexts } from "./context";
import { SearchIcon } from "./icons";
import { RangeSwitch } from "./range-switch";
import { SensorCard } from "./sensor-card";

/** With fewer the eye finds the sensor sooner than the hand types its name. */
const SEARCH_FROM = 9;
/** So few cards have room for higher charts. */
const ROOMY_UP_TO = 3;
/** Who was not heard for so long stands behind the others. The minute keeps the list from changing all the time. */
const LONG = 24 * 60 * 60_000;
const MINUTE = 60_000;

export function Sensors() {
  const { board } = useDashboard();
  const sensors = board.roster.value;
  const { texts, language } = useTexts();
  const longSilent = useId();
  const [search, setSearch] = useState("");
  const minute = useComputed(() => Math.floor((board.now.value ?? 0) / MINUTE) * MINUTE);
  const hasSearch = sensors.length >= SEARCH_FROM || search !== "";
  const { present, silent, matched } = chooseShown(sensors, search, minute.value - LONG);
  const isRoomy = sensors.length <= ROOMY_UP_TO;
  const shown = present.length + silent.length;

  return (
    <section aria-label={texts.board.title}>
      <div class="mb-5 flex flex-wrap items-center gap-x-6 gap-y-3">
        {hasSearch && (
          <label class="relative block w-full max-w-sm">
            <span class="sr-only">{texts.board.search}</span>
            <span class="pointer-events-none absolute inset-y-0 left-3 flex items-center text-faint">
              <SearchIcon />
            </span>
            <input
              type="search"
              value={search}
              placeholder={texts.board.search}
              autocomplete="off"
              spellcheck={false}
              onInput={(event) => setSearch(event.currentTarget.value)}
              class="field h-10 w-full pr-3 pl-9"
            />
          </label>
        )}
        <RangeSwitch />
      </div>
      <div role="status" class="text-sm text-soft">
        {matched === 0 && (
          <p class="wrap-anywhere">
            <bdi>{texts.board.noMatch(search.trim())}</bdi>
          </p>
        )}
        {matched > shown && (
          <p class="mb-4">
            {texts.board.more(formatCount(shown, language), formatCount(matched, language))}
          </p>
        )}
      </div>
      {present.length > 0 && <Cards sensors={present} isRoomy={isRoomy} />}
      {silent.length > 0 && (
        <section aria-labelledby={longSilent} class={present.length > 0 ? "mt-10" : ""}>
          <h2 id={longSilent} class="mb-4 text-sm font-medium text-soft">
            {texts.board.longSilent}
          </h2>
          <Cards sensors={silent} isRoomy={isRoomy} />
        </section>
      )}
    </section>
  );
}

function Cards(props: { readonly sensors: readonly Sensor[]; readonly isRoomy: boolean }) {
  const { sensors, isRoomy } = props;
  return (
    <div
      class={`grid items-stretch gap-4 lg:gap-5 ${isRoomy ? "grid-cols-[repeat(auto-fit,minmax(min(100%,25rem),1fr))]" : "grid-cols-[repeat(auto-fill,minmax(min(100%,23rem),1fr))]"}`}
    >
      {sensors.map((sensor) => (
        <SensorCard key={sensor.id} sensor={sensor} isRoomy={isRoomy} />
      ))}
    </div>
  );
}
