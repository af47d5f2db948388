/** The LogQL box with completion of labels and values. */
import "../core.ts";
import { useRef } from "preact/hooks";
import { lokiLabels, lokiLabelValues, nanos } from "../api.ts";
import { cached } from "../load.ts";
import { useKeys } from "../keys.ts";
import { LOGQL_WORDS, type Completion } from "../query/lex.ts";
import { range, tenant } from "../state.ts";
import { Editor, type Suggestion } from "../widgets/editor.tsx";

async function suggest(context: Completion): Promise<Suggestion[]> {
  const { from, to } = range.value;
  const [start, end] = [nanos(from), nanos(to)];
  if (context.want === "name") return LOGQL_WORDS.map((text) => ({ text }));
  if (context.want === "label") {
    const names = await cached(`log-labels ${tenant.value}`, () => lokiLabels(start, end));
    return names.map((text) => ({ text, hint: "label" }));
  }
  const label = context.label;
  const values = await cached(`log-values ${tenant.value} ${label}`, () => lokiLabelValues(label, start, end));
  return values.map((text) => ({ text }));
}

/** The box. */
export function LogQueryBar(props: { value: string; error: Error | undefined; onRun: (q: string) => void }) {
  const input = useRef<HTMLTextAreaElement>(null);
  useKeys({ e: () => input.current?.focus() });
  return (
    <Editor
      value={props.value}
      label="LogQL query"
      placeholder={'LogQL, e.g. {service_name="wotr-api"} |= "timeout"'}
      suggest={suggest}
      error={props.error}
      onRun={props.onRun}
      inputRef={input}
    />
  );
}
