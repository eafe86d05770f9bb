import type { RangeName } from "../history/ranges";
import type { KnownMeasurement } from "../state/measurements";
import { en } from "./en";
import { ptBR } from "./pt-br";

export const LANGUAGES = ["en", "pt-BR"] as const;
export type Language = (typeof LANGUAGES)[number];

/** Measurements that many devices send by these names. */
type CommonMeasurement =
  | "battery"
  | "concentration"
  | "current"
  | "dew_point"
  | "distance"
  | "energy"
  | "flow"
  | "level"
  | "light"
  | "moisture"
  | "noise"
  | "power"
  | "speed"
  | "voltage"
  | "weight";

type Ago = (amount: string) => string;

/** Every sentence of the page. A language that lacks one does not compile. */
export interface Texts {
  readonly languageName: string;
  readonly languageShort: string;
  readonly skipToContent: string;
  readonly connection: Readonly<Record<"connecting" | "live" | "reconnecting" | "offline", string>>;
  readonly trouble: {
    readonly tooMany: string;
    readonly restarting: string;
    readonly tooSlow: string;
    readonly refused: (reason: string) => string;
  };
  readonly header: {
    readonly settings: string;
    readonly language: string;
    readonly theme: string;
    readonly themes: Readonly<Record<"auto" | "light" | "dark", string>>;
    readonly docs: string;
    readonly signOut: string;
  };
  readonly sensors: (count: number, shown: string) => string;
  readonly perSecond: (rate: string) => string;
  readonly provisional: {
    readonly waiting: (count: number, shown: string) => string;
    readonly began: string;
    readonly ended: string;
    readonly mark: string;
    readonly hint: string;
  };
  readonly waiting: { readonly title: string; readonly unreachable: string };
  readonly signIn: {
    readonly title: string;
    readonly lead: string;
    readonly key: string;
    readonly submit: string;
    readonly busy: string;
    readonly help: string;
    readonly helpLink: string;
  };
  readonly faults: {
    readonly empty: string;
    readonly wrongKey: string;
    readonly notTheReadKey: string;
    readonly tooManyTries: (seconds: number | null) => string;
    readonly unreachable: string;
    readonly ended: string;
    readonly unexpected: (status: number) => string;
  };
  readonly empty: {
    readonly title: string;
    readonly lead: string;
    readonly example: string;
    readonly key: string;
    readonly copy: string;
    readonly copied: string;
    readonly copyByHand: string;
  };
  readonly board: {
    readonly title: string;
    readonly search: string;
    readonly noMatch: (search: string) => string;
    readonly more: (shown: string, matched: string) => string;
    readonly allMeasurements: (count: number) => string;
    readonly fewerMeasurements: string;
    readonly stale: string;
    readonly longSilent: string;
  };
  readonly history: {
    readonly range: string;
    readonly ranges: Readonly<Record<RangeName, string>>;
    readonly loading: string;
    readonly late: string;
    readonly none: Readonly<Record<RangeName, string>>;
    readonly csv: (sensor: string, range: string) => string;
  };
  readonly measurements: Readonly<Record<KnownMeasurement | CommonMeasurement, string>>;
  readonly chart: {
    readonly label: (name: string, latest: string, low: string, high: string) => string;
  };
  readonly ago: {
    readonly now: string;
    readonly seconds: Ago;
    readonly minutes: Ago;
    readonly hours: Ago;
    readonly days: Ago;
  };
}

export const TEXTS: Readonly<Record<Language, Texts>> = { en, "pt-BR": ptBR };
