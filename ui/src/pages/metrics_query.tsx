/** The PromQL box with completion of metrics, labels, values and functions. */
import "../core.ts";
import { useRef } from "preact/hooks";
import { promLabels, promLabelValues } from "../api.ts";
import { cached } from "../load.ts";
import { useKeys } from "../keys.ts";
import { link, go, param, patch } from "../router.ts";
import { PROMQL_FUNCTIONS, type Completion } from "../query/lex.ts";
import { range, tenant } from "../state.ts";
import { Editor, type Suggestion } from "../widgets/editor.tsx";
import type { Catalogue } from "./metrics.tsx";

async function suggest(context: Completion, catalogue: Catalogue | undefined): Promise<Suggestion[]> {
  const { from, to } = range.value;
  const [start, end] = [from / 1000, to / 1000];
  if (context.want === "name") return names(catalogue);
  const match = context.metric ? [context.metric] : [];
  if (context.want === "label") {
    const found = await cached(`labels ${tenant.value} ${context.metric}`, () => promLabels(match, start, end));
    return found.filter((l) => l !== "__name__").map((text) => ({ text, hint: "label" }));
  }
  const label = context.label;
  const values = await cached(`values ${tenant.value} ${context.metric} ${label}`, () => promLabelValues(label, match, start, end));
  return values.map((text) => ({ text }));
}

function names(catalogue: Catalogue | undefined): Suggestion[] {
  const metrics = (catalogue?.families ?? []).flatMap((f): Suggestion[] =>
    f.kind === "histogram"
      ? ["_bucket", "_sum", "_count"].map((s) => ({ text: f.name + s, hint: "histogram" }))
      : [{ text: f.name, hint: f.kind.replace("_", " ") }],
  );
  return [...metrics, ...PROMQL_FUNCTIONS.map((text) => ({ text, hint: "function" }))];
}

/** The box; running an empty text goes back to the browser. */
export function QueryBar(props: { value: string; catalogue: Catalogue | undefined; error: Error | undefined }) {
  const input = useRef<HTMLTextAreaElement>(null);
  useKeys({ e: () => input.current?.focus() });
  const run = (text: string): void => {
    if (text === "") go(link("metrics"));
    else if (text === props.value && param("q") === text) patch({ q: text });
    else patch({ q: text, metric: "", by: "", view: param("view"), only: "", find: "", prefix: "" });
  };
  return (
    <div class="query-bar">
      <Editor
        value={props.value}
        label="PromQL query"
        placeholder="PromQL, e.g. sum by (status) (rate(http_requests_total[$__rate_interval]))"
        suggest={(c) => suggest(c, props.catalogue)}
        error={props.error}
        onRun={run}
        inputRef={input}
      />
      {props.value && (
        <a class="btn" href={link("metrics")}>
          Browse
        </a>
      )}
    </div>
  );
}
