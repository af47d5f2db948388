/** The side panel that shows one thing of a list while the list stays in view, and the rows of fields in it. */
import type { ComponentChildren } from "preact";
import { useKeys } from "../keys.ts";
import { copyText, SafeText } from "./basics.tsx";
import { Icon } from "./icons.tsx";

/** Side panel with title, previous/next and close. `[` and `]` step, Escape closes. */
export function Peek(props: {
  title: ComponentChildren;
  label: string;
  onClose: () => void;
  onStep?: (by: 1 | -1) => void;
  children: ComponentChildren;
}) {
  useKeys({
    Escape: () => props.onClose(),
    "[": () => props.onStep?.(-1),
    "]": () => props.onStep?.(1),
  });
  return (
    <aside class="panel peek" aria-label={props.label}>
      <header>
        <h2 class="clip grow">{props.title}</h2>
        {props.onStep && (
          <>
            <button type="button" class="btn small quiet icon-only" title="Previous  [" aria-label="Previous" onClick={() => props.onStep?.(-1)}>
              <Icon name="left" />
            </button>
            <button type="button" class="btn small quiet icon-only" title="Next  ]" aria-label="Next" onClick={() => props.onStep?.(1)}>
              <Icon name="right" />
            </button>
          </>
        )}
        <button type="button" class="btn small quiet icon-only" title="Close  Esc" aria-label="Close" onClick={props.onClose}>
          <Icon name="close" />
        </button>
      </header>
      <div class="body" tabIndex={0}>
        {props.children}
      </div>
    </aside>
  );
}

/** One field of a record: name, value and what can be done with it. */
export interface Field {
  name: string;
  value: string;
  href?: string | undefined;
}

interface FieldsProps {
  fields: readonly Field[];
  /** Adds "only this" and "without this". */
  onFilter?: ((f: Field, op: "=" | "!=") => void) | undefined;
  /** Adds "show as a column"; `columns` are those shown. */
  onColumn?: ((name: string) => void) | undefined;
  columns?: readonly string[];
}

/** Rows of fields with what can be done with each. */
export function Fields({ fields, onFilter, onColumn, columns = [] }: FieldsProps) {
  return (
    <div class="fields">
      {fields.map((f, i) => (
        <div class="f" key={`${f.name} ${i}`}>
          <span class="k">
            <SafeText text={f.name} />
          </span>
          <span class="v">
            {f.href ? (
              <a href={f.href}>
                <SafeText text={f.value} />
              </a>
            ) : (
              <SafeText text={f.value} />
            )}
          </span>
          <span class="acts">
            {onFilter && (
              <>
                <button type="button" title="Only this value" aria-label={`Only ${f.name} ${f.value}`} onClick={() => onFilter(f, "=")}>
                  <Icon name="plus" />
                </button>
                <button type="button" title="Without this value" aria-label={`Without ${f.name} ${f.value}`} onClick={() => onFilter(f, "!=")}>
                  <Icon name="minus" />
                </button>
              </>
            )}
            {onColumn && (
              <button type="button" title="As a column of the list" aria-label={`${f.name} as a column`} aria-pressed={columns.includes(f.name)} onClick={() => onColumn(f.name)}>
                <Icon name="table" />
              </button>
            )}
            <button type="button" title="Copy value" aria-label={`Copy ${f.name}`} onClick={() => void copyText(f.value)}>
              <Icon name="copy" />
            </button>
          </span>
        </div>
      ))}
    </div>
  );
}
