/** Time range picker: says the range, opens the form. */
import { rangeText, zone } from "../state.ts";
import { describeRange } from "../time.ts";
import { Popover } from "../widgets/basics.tsx";
import { Icon } from "../widgets/icons.tsx";
import { lazy } from "../widgets/lazy.tsx";

const RangeForm = lazy(() => import("./range_form.tsx").then((m) => m.RangeForm));

/** The picker. */
export function RangePicker() {
  const label = describeRange(rangeText.value, Date.now(), zone.value);
  return (
    <Popover
      right
      title="Time range"
      popClass="range-pop"
      label={
        <>
          <Icon name="clock" />
          <span class="clip">{label}</span>
        </>
      }
    >
      {(close) => <RangeForm close={close} />}
    </Popover>
  );
}
