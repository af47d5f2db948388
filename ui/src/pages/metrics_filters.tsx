/** Chips of matchers that narrow what is shown, and the way to add one: a label, then one of its values. */
import "../core.ts";
import { useState } from "preact/hooks";
import { promLabels, promLabelValues } from "../api.ts";
import { cached, useLoad } from "../load.ts";
import { withFilter } from "../query/filters.ts";
import { paramAll, patch } from "../router.ts";
import { range, tenant } from "../state.ts";
import { Popover, SafeText } from "../widgets/basics.tsx";
import { Icon } from "../widgets/icons.tsx";

const OFFERED_MAX = 200;

/** Chips and the button. `metric` narrows what is offered to its labels. */
export function Filters({ metric, scope }: { metric: string; scope: readonly string[] }) {
  const filters = paramAll("f");
  return (
    <span class="filters">
      {filters.map((f) => (
        <button key={f} type="button" class="chip mono" aria-pressed="true" title="Remove this filter" onClick={() => patch({ f: filters.filter((x) => x !== f) })}>
          <SafeText text={f} />
          <Icon name="close" />
        </button>
      ))}
      <Popover
        label={
          <>
            <Icon name="filter" />
            Filter
          </>
        }
        title="Narrow by a label"
        buttonClass="small"
        popClass="filter-pop"
      >
        {(close) => <Chooser metric={metric} scope={[...scope, ...filters]} close={close} />}
      </Popover>
    </span>
  );
}

function Chooser({ metric, scope, close }: { metric: string; scope: readonly string[]; close: () => void }) {
  const [label, setLabel] = useState("");
  const [find, setFind] = useState("");
  const { from, to } = range.peek();
  const selector = selectorOf(metric, scope);
  const load = useLoad(`${tenant.value} ${label} ${selector}`, () =>
    cached(`filter ${tenant.value} ${label} ${selector}`, () => {
      const match = selector ? [selector] : [];
      return label ? promLabelValues(label, match, from / 1000, to / 1000) : promLabels(match, from / 1000, to / 1000);
    }),
    label,
  );
  const all = (load.data ?? []).filter((t) => label || t !== "__name__");
  const found = all.filter((t) => t.toLowerCase().includes(find.toLowerCase()));
  const pick = (text: string, op: "=" | "!="): void => {
    if (!label) {
      setLabel(text);
      setFind("");
      return;
    }
    patch({ f: withFilter(paramAll("f"), label, op, text) });
    close();
  };
  return (
    <>
      <div class="row filter-head">
        {label && (
          <button type="button" class="btn small quiet icon-only" title="Another label" aria-label="Another label" onClick={() => (setLabel(""), setFind(""))}>
            <Icon name="left" />
          </button>
        )}
        <input class="field" autofocus type="search" aria-label={label ? `Value of ${label}` : "Label"} placeholder={label ? `value of ${label}` : "label"} value={find} onInput={(e) => setFind(e.currentTarget.value)} />
      </div>
      {load.error && <div class="menu-title error-text">{load.error.message}</div>}
      {load.data && found.length === 0 && <div class="menu-title">nothing fits</div>}
      {found.slice(0, OFFERED_MAX).map((text) => (
        <div key={text} class="row filter-line">
          <button type="button" class="menu-item mono" onClick={() => pick(text, "=")}>
            <span class="clip">
              <SafeText text={text} />
            </span>
          </button>
          {label && (
            <button type="button" class="btn small quiet icon-only" title="Without this value" aria-label={`Without ${text}`} onClick={() => pick(text, "!=")}>
              <Icon name="minus" />
            </button>
          )}
        </div>
      ))}
      {found.length > OFFERED_MAX && <div class="menu-title">and {found.length - OFFERED_MAX} more; type to narrow</div>}
    </>
  );
}

function selectorOf(metric: string, match: readonly string[]): string {
  const all = [...(metric ? [`__name__=~${JSON.stringify(`${metric}(_bucket|_sum|_count)?`)}`] : []), ...match];
  return all.length > 0 ? `{${all.join(",")}}` : "";
}
