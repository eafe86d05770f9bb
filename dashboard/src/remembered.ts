/** A choice kept in this browser. Where storage is refused it lasts as long as the page. */
export function recall<Choice extends string>(
  name: string,
  choices: readonly Choice[],
): Choice | null {
  try {
    const kept = localStorage.getItem(`sensorflow.${name}`);
    return choices.find((choice) => choice === kept) ?? null;
  } catch {
    return null;
  }
}

export function remember(name: string, choice: string): void {
  try {
    localStorage.setItem(`sensorflow.${name}`, choice);
  } catch {
    // Private windows and strict settings refuse; the choice still holds for this page.
  }
}
