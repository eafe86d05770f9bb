/** Charts are made a little before they scroll into sight. */
const MARGIN = "200px";

const watchers = new Map<Element, (inSight: boolean) => void>();
let observer: IntersectionObserver | null = null;

/** Tells whether the element is on the screen, now and at every change, until called off. */
export function watchSight(element: Element, tell: (inSight: boolean) => void): () => void {
  // One observer for all cards: the browser delivers their changes together.
  observer ??= new IntersectionObserver(
    (changes) => {
      for (const change of changes) watchers.get(change.target)?.(change.isIntersecting);
    },
    { rootMargin: MARGIN },
  );
  watchers.set(element, tell);
  observer.observe(element);
  return () => {
    watchers.delete(element);
    observer?.unobserve(element);
  };
}
