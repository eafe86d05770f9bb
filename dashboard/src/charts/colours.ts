import { isKnown } from "../state/measurements";

/** How many colours `theme.css` has for measurements that are not known by name. */
const OTHERS = 7;

/**
 * The style sheet's properties with the colours of a sensor's measurements. A name has the same
 * colour everywhere, unless a neighbour has it already; sensors alike look alike.
 */
export function colourProperties(names: Iterable<string>): ReadonlyMap<string, string> {
  const properties = new Map<string, string>();
  let taken = new Set<number>();
  for (const name of names) {
    if (isKnown(name)) {
      properties.set(name, `--color-${name}`);
      continue;
    }
    if (taken.size === OTHERS) taken = new Set();
    let other = preferred(name);
    while (taken.has(other)) other = (other + 1) % OTHERS;
    taken.add(other);
    properties.set(name, `--color-other-${other + 1}`);
  }
  return properties;
}

function preferred(name: string): number {
  let hash = 0;
  for (const letter of name) hash = (hash * 31 + letter.charCodeAt(0)) >>> 0;
  return hash % OTHERS;
}

export interface Palette {
  readonly line: string;
  readonly fill: string;
  readonly band: string;
  readonly grid: string;
  readonly mark: string;
  readonly bubble: string;
  readonly paper: string;
}

const palettes = new Map<string, Palette>();

/**
 * The colours in force for a chart, as a canvas needs them. `frame` has the colour of marks as its
 * text colour and that of the grid as its border colour; the canvas has that of the line.
 * Asking the browser costs a style calculation, so the answer is kept by theme and measurement.
 */
export function paletteOf(
  theme: string,
  property: string,
  frame: HTMLElement,
  canvas: HTMLElement,
): Palette {
  const key = `${theme} ${property}`;
  let palette = palettes.get(key);
  if (!palette) {
    const line = getComputedStyle(canvas).color;
    const { color: mark, borderTopColor: grid } = getComputedStyle(frame);
    const { color: bubble, backgroundColor: paper } = getComputedStyle(document.body);
    palette = {
      line,
      fill: withAlpha(line, 0.08),
      band: withAlpha(line, 0.22),
      grid,
      mark,
      bubble,
      paper,
    };
    palettes.set(key, palette);
  }
  return palette;
}

function withAlpha(colour: string, alpha: number): string {
  return colour.replace(/^rgb\((.*)\)$/, `rgba($1, ${alpha})`);
}
