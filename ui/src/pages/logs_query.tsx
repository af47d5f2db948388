/** The LogQL box: completion of labels and values, complaints of the server's parser while typing. */
import "../core.ts";
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, lokiLabels, lokiLabelValues, nanos } from "../api.ts";
import { formatLogQl } from "../api_logs.ts";
import { cached } from "../load.ts";
import { useKeys } from "../keys.ts";
import { LOGQL_WORDS, type Completion } from "../query/lex.ts";
import { range, tenant } from "../state.ts";
import { Editor, type Suggestion } from "../widgets/editor.tsx";

const CHECK_AFTER_MS = 300;

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

/** What the parser says to a draft; null when it is right or nothing is known. */
function useVerdict(draft: string): string | null {
  const [verdict, setVerdict] = useState<{ draft: string; says: string | null }>({ draft: "", says: null });
  useEffect(() => {
    if (draft.trim() === "") return;
    const abort = new AbortController();
    const timer = window.setTimeout(() => {
      formatLogQl(draft, abort.signal).then(
        () => setVerdict({ draft, says: null }),
        (e: unknown) => !abort.signal.aborted && setVerdict({ draft, says: e instanceof ApiError && e.status === 400 ? e.message : null }),
      );
    }, CHECK_AFTER_MS);
    return () => {
      window.clearTimeout(timer);
      abort.abort();
    };
  }, [draft]);
  return verdict.draft === draft ? verdict.says : null;
}

/** The box. Its key and `/` put the caret into it. */
export function LogQueryBar(props: { value: string; error: Error | undefined; onRun: (q: string) => void }) {
  const input = useRef<HTMLTextAreaElement>(null);
  const [draft, setDraft] = useState("");
  const says = useVerdict(draft);
  const focus = (): void => input.current?.focus();
  useKeys({ e: focus, "/": focus });
  useEffect(() => setDraft(""), [props.value]);
  return (
    <div class="query-box" onInput={(e) => e.target === input.current && setDraft(input.current?.value ?? "")}>
      <Editor
        value={props.value}
        label="LogQL query"
        placeholder={'LogQL, e.g. {service_name="wotr-api"} |= "timeout"'}
        suggest={suggest}
        error={props.error}
        onRun={props.onRun}
        inputRef={input}
      />
      {says && (
        <div class="verdict error-text" role="status">
          {says}
        </div>
      )}
    </div>
  );
}
