export interface Paintable {
  paint(): void;
}

/** Of a frame's 16 ms; the rest is for the page itself. */
const BUDGET = 8;

/**
 * Paints charts within a part of each frame. What does not fit comes first in the next one, so many
 * charts together get slower, never the page.
 */
export class Painter {
  readonly #waiting = new Set<Paintable>();
  #frameWanted = false;

  request(chart: Paintable): void {
    this.#waiting.add(chart);
    this.#wantFrame();
  }

  cancel(chart: Paintable): void {
    this.#waiting.delete(chart);
  }

  #wantFrame(): void {
    if (this.#frameWanted) return;
    this.#frameWanted = true;
    requestAnimationFrame(() => {
      this.#frameWanted = false;
      this.#frame();
    });
  }

  #frame(): void {
    const began = performance.now();
    for (const chart of this.#waiting) {
      this.#waiting.delete(chart);
      chart.paint();
      if (performance.now() - began > BUDGET) break;
    }
    if (this.#waiting.size > 0) this.#wantFrame();
  }
}

/** All charts of the page share the frame. */
export const painter = new Painter();
