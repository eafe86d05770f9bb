import type { Sensor } from "./sensors";

/** Cards on the page at once. */
export const MAX_SHOWN = 200;

const byName = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

export interface Roster {
  /** The sensors to show, by name. */
  readonly shown: readonly Sensor[];
  /** How many the search matched; more than are shown when there are too many. */
  readonly matched: number;
}

/**
 * Which of the sensors to show. `sensors` has the regular ones first: they keep their places
 * when there are more than fit, while names heard only once come and go.
 */
export function chooseShown(
  sensors: readonly Sensor[],
  search: string,
  limit: number = MAX_SHOWN,
): Roster {
  const wanted = search.trim().toLocaleLowerCase();
  const matching =
    wanted === "" ? sensors : sensors.filter(({ id }) => id.toLocaleLowerCase().includes(wanted));
  // Within the regulars the order is that of hearing and changes all the time: choose by name.
  const regulars = sorted(matching.filter(({ regular }) => regular)).slice(0, limit);
  const others = sorted(matching.filter(({ regular }) => !regular));
  const shown = sorted([...regulars, ...others.slice(0, limit - regulars.length)]);
  return { shown, matched: matching.length };
}

function sorted(sensors: Sensor[]): Sensor[] {
  return sensors.sort((a, b) => byName.compare(a.id, b.id) || (a.id < b.id ? -1 : 1));
}
