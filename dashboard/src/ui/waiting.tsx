import { useDashboard, useTexts } from "./context";

/** Shown before it is known what there is to show. */
export function Waiting() {
  const { session } = useDashboard();
  const { texts } = useTexts();
  return (
    <p role="status" class="pt-[12vh] text-center text-soft">
      {session.fault.value ? texts.waiting.unreachable : texts.waiting.title}
    </p>
  );
}
