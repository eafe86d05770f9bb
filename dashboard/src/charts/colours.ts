import { isKnown } from "../state/measurements";

/** How many colours `theme.css` has for measurements that are not known by name. */
const OTHERS = 5;

/** The style sheet's property with a measurement's colour: the same name, the same colour, everywhere. */
export function colourProperty(name: string): string {
  if (isKnown(name)) return `--color-${name}`;
  let hash = 0;
  for (const letter of name) hash = (hash * 31 + letter.charCodeAt(0)) >>> 0;
  return `--color-other-${(hash % OTHERS) + 1}`;
}

export interface Palette {
  readonly line: string;
  readonly fill: string;
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
    palette = { line, fill: withAlpha(line, 0.1), grid, mark, bubble, paper };
    palettes.set(key, palette);
  }
  return palette;
}

function withAlpha(colour: string, alpha: number): string {
  return colour.replace(/^rgb\((.*)\)$/, `rgba($1, ${alpha})`);
}
