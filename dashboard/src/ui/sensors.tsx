import { useState } from "preact/hooks";
import { formatCount } from "../format";
import { chooseShown } from "../state/roster";
import { useDashboard, useTexts } from "./context";
import { SearchIcon } from "./icons";
import { SensorCard } from "./sensor-card";

/** With fewer the eye finds the sensor sooner than the hand types its name. */
const SEARCH_FROM = 9;
/** So few cards have room for higher charts. */
const ROOMY_UP_TO = 3;

export function Sensors() {
  const sensors = useDashboard().board.roster.value;
  const { texts, language } = useTexts();
  const [search, setSearch] = useState("");
  const hasSearch = sensors.length >= SEARCH_FROM || search !== "";
  const { shown, matched } = chooseShown(sensors, search);
  const isRoomy = sensors.length <= ROOMY_UP_TO;

  return (
    <section aria-label={texts.board.title}>
      {hasSearch && (
        <label class="relative mb-5 block w-full max-w-sm">
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
      <div role="status" class="text-sm text-soft">
        {matched === 0 && (
          <p class="wrap-anywhere">
            <bdi>{texts.board.noMatch(search.trim())}</bdi>
          </p>
        )}
        {matched > shown.length && (
          <p class="mb-4">
            {texts.board.more(formatCount(shown.length, language), formatCount(matched, language))}
          </p>
        )}
      </div>
      <div
        class={`grid items-stretch gap-4 lg:gap-5 ${isRoomy ? "grid-cols-[repeat(auto-fit,minmax(min(100%,25rem),1fr))]" : "grid-cols-[repeat(auto-fill,minmax(min(100%,23rem),1fr))]"}`}
      >
        {shown.map((sensor) => (
          <SensorCard key={sensor.id} sensor={sensor} isRoomy={isRoomy} />
        ))}
      </div>
    </section>
  );
}
