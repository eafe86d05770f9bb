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

const TWO_DECIMALS = { maximumFractionDigits: 2 } as const;
const ONE_OR_TWO_DECIMALS = { minimumFractionDigits: 1, maximumFractionDigits: 2 } as const;
const THREE_DIGITS = { maximumSignificantDigits: 3 } as const;
/** Twenty-four hours in every language: "PM" has no room under a small chart. */
const CLOCK = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const;
const SCIENTIFIC = { notation: "scientific", maximumFractionDigits: 2 } as const;

/** The unit of a measurement known by name; empty for any other. */
export function unitOf(name: string): string {
  return isKnown(name) ? UNITS[name] : "";
}

/** A value as its tile shows it: at most two decimals, unless that would make it nothing. */
export function formatValue(name: string, value: number, language: Language): string {
  return numberFormat(language, valueStyle(name, value)).format(value);
}

function valueStyle(name: string, value: number): Intl.NumberFormatOptions {
  const size = Math.abs(value);
  if (size >= 1e9 || (size > 0 && size < 1e-4)) return SCIENTIFIC;
  if (size > 0 && size < 0.1) return THREE_DIGITS;
  return isKnown(name) ? ONE_OR_TWO_DECIMALS : TWO_DECIMALS;
}

/** A value with its unit, for sentences. */
export function formatQuantity(name: string, value: number, language: Language): string {
  const unit = unitOf(name);
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
  if (span <= DAY) return CLOCK;
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
