/** The LogQL box: completion, help and complaints while typing, and a button that writes the query nicely. */
import "../core.ts";
import { useRef, useState } from "preact/hooks";
import { checkQuery } from "../api_editor.ts";
import { useKeys } from "../keys.ts";
import { LOGQL } from "../query/logql_language.ts";
import { Editor } from "../widgets/editor.tsx";

/** The box. `e` and `/` put the caret into it. */
export function LogQueryBar(props: { value: string; error: Error | undefined; onRun: (q: string) => void }) {
  const input = useRef<HTMLTextAreaElement>(null);
  const draft = useRef(props.value);
  const [replace, setReplace] = useState<{ text: string }>();
  const focus = (): void => input.current?.focus();
  useKeys({ e: focus, "/": focus });
  const format = async (): Promise<void> => {
    const verdict = await checkQuery("logql", draft.current).catch(() => undefined);
    if (verdict?.formatted) setReplace({ text: verdict.formatted });
  };
  return (
    <>
      <Editor
        value={props.value}
        label="LogQL query"
        placeholder={'LogQL, e.g. {service_name="wotr-api"} |= "timeout"'}
        language={LOGQL}
        error={props.error}
        onRun={props.onRun}
        onDraft={(text) => (draft.current = text)}
        replace={replace}
        inputRef={input}
      />
      <button type="button" class="btn on" title="Run  Enter" onClick={() => props.onRun(draft.current.trim())}>
        Run
      </button>
      <button type="button" class="btn" title="Format the query" onClick={() => void format()}>
        Format
      </button>
    </>
  );
}
