import type { Sensor } from "./sensor";

/** Cards on the page at once. */
export const MAX_SHOWN = 200;

const byName = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

export interface Roster {
  /** Sensors heard lately, by name. */
  readonly present: readonly Sensor[];
  /** Those not heard since, the one heard last first. */
  readonly silent: readonly Sensor[];
  /** How many the search matched; more than are shown when there are too many. */
  readonly matched: number;
}

/**
 * Which of the sensors to show. `sensors` has the regular ones first: they keep their places
 * when there are more than fit, while names heard only once come and go, and then those that
 * were not heard since `lately`.
 */
export function chooseShown(
  sensors: readonly Sensor[],
  search: string,
  lately: number = Number.NEGATIVE_INFINITY,
  limit: number = MAX_SHOWN,
): Roster {
  const wanted = search.trim().toLocaleLowerCase();
  const matching = wanted === "" ? sensors : sensors.filter((sensor) => isFound(sensor, wanted));
  const isPresent = ({ rhythm }: Sensor) => rhythm.heardAt >= lately;
  // Within the regulars the order is that of hearing and changes all the time: choose by name.
  const present = matching.filter(isPresent);
  const regulars = sorted(present.filter(({ regular }) => regular)).slice(0, limit);
  const others = sorted(present.filter(({ regular }) => !regular));
  const shown = sorted([...regulars, ...others.slice(0, limit - regulars.length)]);
  const silent = matching
    .filter((sensor) => !isPresent(sensor))
    .sort((a, b) => b.rhythm.heardAt - a.rhythm.heardAt)
    .slice(0, limit - shown.length);
  return { present: shown, silent, matched: matching.length };
}

function isFound({ id, name, known }: Sensor, wanted: string): boolean {
  return [id, name, known?.location ?? ""].some((text) =>
    text.toLocaleLowerCase().includes(wanted),
  );
}

function sorted(sensors: Sensor[]): Sensor[] {
  return sensors.sort((a, b) => byName.compare(a.name, b.name) || (a.id < b.id ? -1 : 1));
}
