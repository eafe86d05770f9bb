import { type Language, TEXTS } from "./i18n/texts";
import { isKnown, type KnownMeasurement } from "./state/measurements";

const UNITS: Readonly<Record<KnownMeasurement, string>> = {
  temperature: "°C",
  humidity: "%",
  pressure: "hPa",
};

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const HALF_DAY = 12 * HOUR;
const DAY = 24 * HOUR;

/** Making an Intl formatter costs far more than using one, and the page formats all the time. */
const numberFormats = new Map<string, Intl.NumberFormat>();
const timeFormats = new Map<string, Intl.DateTimeFormat>();

function numberFormat(language: Language, options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const key = language + JSON.stringify(options);
  let format = numberFormats.get(key);
  if (!format) {
    format = new Intl.NumberFormat(language, options);
    numberFormats.set(key, format);
  }
  return format;
}

function timeFormat(language: Language, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = language + JSON.stringify(options);
  let format = timeFormats.get(key);
  if (!format) {
    format = new Intl.DateTimeFormat(language, options);
    timeFormats.set(key, format);
  }
  return format;
}

const THREE_DIGITS = { maximumSignificantDigits: 3 } as const;
/** Twenty-four hours in every language: "PM" has no room under a small chart. */
const CLOCK = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const;
const SCIENTIFIC = { notation: "scientific", maximumFractionDigits: 2 } as const;

/** The unit of a measurement known by name; empty for any other. */
export function unitOf(name: string): string {
  return isKnown(name) ? UNITS[name] : "";
}

/**
 * A value as its tile shows it: at most two decimals, unless that would make it nothing, and at
 * least so many as its neighbours have.
 */
export function formatValue(name: string, value: number, language: Language, decimals = 0): string {
  return numberFormat(language, valueStyle(name, value, decimals)).format(value);
}

function valueStyle(name: string, value: number, decimals: number): Intl.NumberFormatOptions {
  const size = Math.abs(value);
  if (size >= 1e9 || (size > 0 && size < 1e-4)) return SCIENTIFIC;
  if (size > 0 && size < 0.1 && decimals === 0) return THREE_DIGITS;
  // The more digits stand before the point, the fewer are told apart behind it.
  const most = isKnown(name) || size < 1e3 ? 2 : size < 1e5 ? 1 : 0;
  const least = Math.min(most, Math.max(decimals, isKnown(name) ? 1 : 0));
  return { minimumFractionDigits: least, maximumFractionDigits: most };
}

/** How many decimals values next to each other need, so that their digits stay in place; at most two. */
export function decimalsOf(values: readonly number[]): number {
  const sizes = values.map((value) => Math.abs(value)).filter((size) => size > 0);
  // What is smaller than a tenth shows its first digits, however many decimals that takes.
  if (sizes.some((size) => size < 0.1 || size >= 1e9)) return 0;
  for (const [decimals, factor] of [1, 10].entries()) {
    // What two decimals would not show does not count.
    const hidden = 0.005 * factor;
    const isShown = (size: number) => Math.abs(size * factor - Math.round(size * factor)) < hidden;
    if (sizes.every(isShown)) return decimals;
  }
  return 2;
}

/** A value with its unit, for sentences. */
export function formatQuantity(
  name: string,
  value: number,
  unit: string,
  language: Language,
): string {
  const number = formatValue(name, value, language);
  if (unit === "") return number;
  return unit === "%" ? `${number}%` : `${number} ${unit}`;
}

/** A mark of a value axis, with the decimals that its step needs. */
export function formatMark(value: number, step: number, language: Language): string {
  if (Math.abs(value) >= 1e6 || (step > 0 && step < 1e-3)) {
    return numberFormat(language, { notation: "compact", maximumSignificantDigits: 3 }).format(
      value,
    );
  }
  const decimals = step > 0 ? Math.min(3, Math.max(0, -Math.floor(Math.log10(step) + 1e-9))) : 2;
  return numberFormat(language, { maximumFractionDigits: decimals }).format(value);
}

export function formatCount(count: number, language: Language): string {
  return numberFormat(language, { maximumFractionDigits: 0 }).format(count);
}

export function formatRate(perSecond: number, language: Language): string {
  const decimals = perSecond < 10 ? 1 : 0;
  return numberFormat(language, { maximumFractionDigits: decimals }).format(perSecond);
}

/** A mark of a time axis; how long the axis is decides what has to be said. */
export function formatTimeMark(time: number, span: number, language: Language): string {
  return timeFormat(language, timeMarkStyle(span)).format(time);
}

function timeMarkStyle(span: number): Intl.DateTimeFormatOptions {
  if (span <= 5 * MINUTE) return { ...CLOCK, second: "2-digit" };
  if (span < HALF_DAY) return CLOCK;
  if (span <= 3 * DAY) return { ...CLOCK, weekday: "short" };
  return { day: "numeric", month: "short" };
}

/** A moment in full, for tooltips. */
export function formatMoment(time: number, language: Language): string {
  return timeFormat(language, { dateStyle: "medium", timeStyle: "medium" }).format(time);
}

/** How long ago something was, in one unit. What seems to lie ahead is now. */
export function formatAgo(age: number, language: Language): string {
  const { ago } = TEXTS[language];
  if (age < 2 * SECOND) return ago.now;
  if (age < MINUTE) return ago.seconds(formatCount(Math.floor(age / SECOND), language));
  if (age < HOUR) return ago.minutes(formatCount(Math.floor(age / MINUTE), language));
  if (age < 2 * DAY) return ago.hours(formatCount(Math.floor(age / HOUR), language));
  return ago.days(formatCount(Math.floor(age / DAY), language));
}
