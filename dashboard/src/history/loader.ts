import { type ReadonlySignal, signal } from "@preact/signals";
import { recall, remember } from "../remembered";
import { BOUNDS, type Sensor } from "../state/sensor";
import type { Answer, Ask } from "./asking";
import type { HistoryFrame } from "./buckets";
import { RANGE_NAMES, RANGES, type Range, type RangeName } from "./ranges";
import { Repeater, type Turn } from "./repeater";
import {
  decodeSensors,
  decodeSeries,
  SENSORS_URL,
  type SensorsAnswer,
  type SeriesAnswer,
  seriesUrl,
} from "./wire";

/** What the loader fills; the board of the page. */
export interface Wants {
  /** Sensors on the screen that lack the range's history, or have one with a hole or of long ago. */
  wanting(range: Range): Sensor[];
  setHistory(
    frame: HistoryFrame,
    sensors: readonly Sensor[],
    buckets: SeriesAnswer["buckets"],
  ): void;
  introduce(answer: SensorsAnswer): void;
}

export interface LoaderOptions {
  readonly ask: Ask;
  readonly wants: Wants;
  /** The server did not accept the session. */
  readonly onNotAllowed: () => void;
  /** The server's time, as far as it is known. */
  readonly now: () => number | null;
  /** Nothing is asked for a page that nobody looks at. */
  readonly isLookedAt: () => boolean;
}

/** `late`: the last question was not answered, and is asked again. */
export type HistoryState = "settled" | "loading" | "late";

/** Between two looks for a history that has become old. */
const LOOK = 15_000;
const NAMES_KEPT = 5 * 60_000;
/** Of one request. */
const MOST_SENSORS = 20;
const MOST_BUCKETS = 40_000;
const LONGEST_URL = 6_000;

/** Brings what was before this page: the sensors, and the histories of those on the screen. */
export class HistoryLoader {
  readonly #options: LoaderOptions;
  readonly #range = signal<Range>(RANGES[recall("range", RANGE_NAMES) ?? "1h"]);
  readonly #state = signal<HistoryState>("settled");
  readonly #knowsSensors = signal(false);
  readonly #histories = new Repeater((signal) => this.#loadHistories(signal));
  readonly #names = new Repeater((signal) => this.#loadSensors(signal));
  /** What one request asks for, as a part of the bounds; less after a refusal. */
  #share = 1;

  constructor(options: LoaderOptions) {
    this.#options = options;
  }

  get range(): ReadonlySignal<Range> {
    return this.#range;
  }

  get state(): ReadonlySignal<HistoryState> {
    return this.#state;
  }

  /** Whether the server has said which sensors it knows. */
  get knowsSensors(): ReadonlySignal<boolean> {
    return this.#knowsSensors;
  }

  choose(name: RangeName): void {
    this.#range.value = RANGES[name];
    remember("range", name);
    this.#histories.anew();
  }

  start(): void {
    this.#names.start();
    this.#histories.start();
  }

  stop(): void {
    this.#names.stop();
    this.#histories.stop();
    this.#state.value = "settled";
    this.#knowsSensors.value = false;
  }

  /** A card came into sight. */
  look(): void {
    this.#histories.soon();
  }

  /** The stream began, and not where it had ended. */
  returned(): void {
    this.#histories.anew();
    if (this.#knowsSensors.value) this.#names.soon();
  }

  async #loadSensors(signal: AbortSignal): Promise<Turn> {
    if (!this.#options.isLookedAt()) return { next: LOOK };
    const answer = await this.#options.ask(SENSORS_URL, signal);
    if (signal.aborted) return { next: LOOK };
    const found = answer.kind === "told" ? decodeSensors(answer.body) : null;
    if (found) this.#options.wants.introduce(found);
    // Else it is not known whether there are any: the database may be away.
    if (answer.kind === "told" || answer.kind === "refused") this.#knowsSensors.value = true;
    if (found) return { next: NAMES_KEPT };
    return this.#failed(answer);
  }

  async #loadHistories(signal: AbortSignal): Promise<Turn> {
    if (!this.#options.isLookedAt()) return { next: LOOK };
    const range = this.#range.value;
    const sensors = this.#portion(range, this.#options.wants.wanting(range));
    if (sensors.length === 0) {
      this.#state.value = "settled";
      return { next: LOOK };
    }
    if (this.#state.value === "settled") this.#state.value = "loading";
    const asOf = this.#options.now() ?? Number.NEGATIVE_INFINITY;
    const answer = await this.#options.ask(urlOf(range, sensors), signal);
    if (signal.aborted) return { next: 0 };
    const found = answer.kind === "told" ? decodeSeries(answer.body) : null;
    if (found) {
      this.#share = 1;
      this.#options.wants.setHistory({ range, width: found.width, asOf }, sensors, found.buckets);
      return { next: 0 };
    }
    if (answer.kind === "refused" && sensors.length === 1) {
      // It has no history that can be told; that of the others is not held up for it.
      const { width } = range.bucket;
      this.#options.wants.setHistory({ range, width, asOf }, sensors, new Map());
      return { next: 0 };
    }
    if (answer.kind === "refused") this.#share = Math.max(this.#share / 2, 1 / MOST_SENSORS);
    this.#state.value = "late";
    return this.#failed(answer);
  }

  #failed(answer: Answer): Turn {
    if (answer.kind === "not-allowed") this.#options.onNotAllowed();
    return { retryAfter: answer.kind === "away" ? answer.retryAfter : null };
  }

  /** As many of the sensors as one request may ask for; at least one. */
  #portion({ span, bucket }: Range, sensors: readonly Sensor[]): Sensor[] {
    const portion: Sensor[] = [];
    let buckets = 0;
    let length = 0;
    for (const sensor of sensors) {
      buckets += Math.max(1, sensor.series.size) * (span / bucket.width + 1);
      length += encodeURIComponent(sensor.id).length + 11;
      const isTooMuch =
        portion.length >= MOST_SENSORS * this.#share ||
        buckets > MOST_BUCKETS * this.#share ||
        length > LONGEST_URL;
      if (isTooMuch && portion.length > 0) break;
      portion.push(sensor);
    }
    return portion;
  }
}

function urlOf(range: Range, sensors: readonly Sensor[]): string {
  const ids = sensors.map(({ id }) => id);
  const [first] = sensors;
  // One with very many has more than are kept here, and the answer has a bound.
  const isCrowded = sensors.length === 1 && (first?.series.size ?? 0) >= BOUNDS.measurements;
  return seriesUrl(range, ids, isCrowded && first ? [...first.series.keys()] : []);
}
