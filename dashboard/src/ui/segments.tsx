import type { ComponentChildren } from "preact";

export interface Segment<Choice extends string> {
  readonly choice: Choice;
  /** The name of the choice, for those who do not see the face. */
  readonly name: string;
  readonly face: ComponentChildren;
  /** The language of the name, where it is not the page's. */
  readonly lang?: string;
}

interface SegmentsProps<Choice extends string> {
  readonly label: string;
  readonly chosen: Choice;
  readonly segments: readonly Segment<Choice>[];
  readonly onChoose: (choice: Choice) => void;
}

/** A few choices side by side, of which one holds. */
export function Segments<Choice extends string>(props: SegmentsProps<Choice>) {
  return (
    <fieldset class="flex rounded-lg bg-raised p-0.5">
      <legend class="sr-only">{props.label}</legend>
      {props.segments.map(({ choice, name, face, lang }) => (
        <label
          key={choice}
          title={name}
          class="flex h-7 min-w-8 cursor-pointer items-center justify-center rounded-md px-2 text-xs font-medium text-soft transition-colors hover:text-ink has-checked:bg-surface has-checked:text-ink has-checked:shadow-xs has-focus-visible:outline-2 has-focus-visible:outline-accent"
        >
          <input
            type="radio"
            class="sr-only"
            name={props.label}
            checked={choice === props.chosen}
            onChange={() => props.onChoose(choice)}
            aria-label={name}
            lang={lang}
          />
          <span aria-hidden="true">{face}</span>
        </label>
      ))}
    </fieldset>
  );
}
