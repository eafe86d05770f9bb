import { RANGE_NAMES, RANGES } from "../history/ranges";
import { useDashboard, useTexts } from "./context";
import { Segments } from "./segments";

/** How much time the charts show, and what has become of the question for it. */
export function RangeSwitch() {
  const { history } = useDashboard();
  const { texts } = useTexts();
  const state = history.state.value;
  return (
    <div class="ml-auto flex flex-wrap items-center justify-end gap-x-4 gap-y-2">
      <p role="status" data-history={state} class="text-sm text-soft">
        {state === "loading" && <span class="late">{texts.history.loading}</span>}
        {state === "late" && <span class="text-caution">{texts.history.late}</span>}
      </p>
      <Segments
        label={texts.history.range}
        chosen={history.range.value.name}
        segments={RANGE_NAMES.map((choice) => ({
          choice,
          name: texts.history.ranges[choice],
          face: RANGES[choice].face,
        }))}
        onChoose={(choice) => history.choose(choice)}
      />
    </div>
  );
}
