/** The queries of the page: one box each, lettered, switched on and off, formatted, recalled. */
import "../core.ts";
import { useMemo, useRef, useState } from "preact/hooks";
import { checkQuery } from "../api_editor.ts";
import { useKeys } from "../keys.ts";
import { link, go, param, paramAll, patch } from "../router.ts";
import { history, remember } from "../query/history.ts";
import { promqlLanguage } from "../query/promql_language.ts";
import { restored, standIn } from "../query/variables.ts";
import { Popover } from "../widgets/basics.tsx";
import { Editor } from "../widgets/editor.tsx";
import { Icon } from "../widgets/icons.tsx";
import type { Catalogue } from "./metrics.tsx";
import { letterOf, QUERIES_MAX } from "./metrics_model.ts";

interface Props {
  /** Text of the boxes: the queries of the URL, or the one that a picked metric is shown by. */
  values: readonly string[];
  catalogue: Catalogue | undefined;
  /** What the server said of each query. */
  errors?: readonly (Error | undefined)[];
}

/** Writes the queries into the URL; without any the page goes back to browsing. */
function commit(queries: readonly string[]): void {
  const kept = queries.slice(0, QUERIES_MAX);
  if (kept.every((q) => q === "")) return go(link("metrics"));
  kept.forEach((q) => remember(q));
  const metricLeft = param("metric") !== "";
  patch({ q: kept.filter((q) => q !== ""), metric: "", by: "", only: "", find: "", prefix: "", kind: "", stat: "", ...(metricLeft ? { f: "", view: "" } : {}) });
}

/** All boxes. */
export function QueryBar({ values, catalogue, errors }: Props) {
  const [extra, setExtra] = useState(false);
  const shown = extra && values[values.length - 1] !== "" ? [...values, ""] : values;
  const first = useRef<HTMLTextAreaElement>(null);
  useKeys({ e: () => first.current?.focus() });
  const off = param("off");
  const set = (i: number, text: string): void => {
    const next = [...values];
    next[i] = text;
    setExtra(false);
    commit(next);
  };
  const remove = (i: number): void => {
    if (i >= values.length) return setExtra(false);
    commit(values.filter((_, k) => k !== i));
  };
  const toggle = (letter: string): void => patch({ off: off.includes(letter) ? off.replaceAll(letter, "") : off + letter });
  return (
    <div class="queries">
      {shown.map((value, i) => (
        <Row
          key={i}
          letter={letterOf(i)}
          value={value}
          lone={shown.length === 1}
          off={off.includes(letterOf(i))}
          error={errors?.[i]}
          catalogue={catalogue}
          inputRef={i === 0 ? first : undefined}
          onRun={(text) => set(i, text)}
          onRemove={() => remove(i)}
          onToggle={() => toggle(letterOf(i))}
        />
      ))}
      {paramAll("q").length > 0 && shown.length < QUERIES_MAX && !extra && (
        <div class="row">
          <button type="button" class="btn small quiet" onClick={() => setExtra(true)}>
            <Icon name="plus" />
            Add query
          </button>
        </div>
      )}
    </div>
  );
}

interface RowProps {
  letter: string;
  value: string;
  lone: boolean;
  off: boolean;
  error: Error | undefined;
  catalogue: Catalogue | undefined;
  inputRef: { current: HTMLTextAreaElement | null } | undefined;
  onRun: (text: string) => void;
  onRemove: () => void;
  onToggle: () => void;
}

function Row(p: RowProps) {
  const families = useRef(p.catalogue?.families ?? []);
  families.current = p.catalogue?.families ?? [];
  const language = useMemo(() => promqlLanguage(() => families.current), []);
  const draft = useRef(p.value);
  const [replace, setReplace] = useState<{ text: string }>();
  const format = async (): Promise<void> => {
    const verdict = await checkQuery("promql", standIn(draft.current)).catch(() => undefined);
    if (verdict?.formatted) setReplace({ text: restored(verdict.formatted) });
  };
  return (
    <div class={`query-bar ${p.off ? "off" : ""}`}>
      {!p.lone && (
        <button type="button" class="btn letter" aria-pressed={!p.off} title={p.off ? `Switch query ${p.letter} on` : `Switch query ${p.letter} off`} onClick={p.onToggle}>
          {p.letter}
        </button>
      )}
      <Editor
        value={p.value}
        label={p.lone ? "PromQL query" : `PromQL query ${p.letter}`}
        placeholder="PromQL, e.g. sum by (status) (rate(http_requests_total[$__rate_interval]))"
        language={language}
        error={p.error}
        onRun={p.onRun}
        onDraft={(text) => (draft.current = text)}
        replace={replace}
        {...(p.inputRef ? { inputRef: p.inputRef } : {})}
      />
      <div class="row query-acts">
        <button type="button" class="btn on" title="Run  Enter" onClick={() => p.onRun(draft.current.trim())}>
          Run
        </button>
        <button type="button" class="btn" title="Format the query" onClick={() => void format()}>
          Format
        </button>
        <Recall onPick={p.onRun} />
        {!p.lone && (
          <button type="button" class="btn icon-only quiet" title={`Remove query ${p.letter}`} aria-label={`Remove query ${p.letter}`} onClick={p.onRemove}>
            <Icon name="close" />
          </button>
        )}
        {p.lone && p.value && (
          <a class="btn" href={link("metrics")}>
            Browse
          </a>
        )}
      </div>
    </div>
  );
}

function Recall({ onPick }: { onPick: (q: string) => void }) {
  return (
    <Popover label={<Icon name="clock" />} title="Queries run before" buttonClass="icon-only" popClass="recall" right>
      {(close) => {
        const list = history();
        return list.length === 0 ? (
          <div class="menu-title">Queries you run are listed here.</div>
        ) : (
          list.map((q) => (
            <button
              key={q}
              type="button"
              class="menu-item mono"
              onClick={() => {
                close();
                onPick(q);
              }}
            >
              <span class="clip">{q}</span>
            </button>
          ))
        );
      }}
    </Popover>
  );
}
