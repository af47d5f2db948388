/** The LogQL box: completion, help and complaints while typing. */
import "../core.ts";
import { useRef } from "preact/hooks";
import { useKeys } from "../keys.ts";
import { LOGQL } from "../query/logql_language.ts";
import { Editor } from "../widgets/editor.tsx";

/** The box. `e` and `/` put the caret into it. */
export function LogQueryBar(props: { value: string; error: Error | undefined; onRun: (q: string) => void }) {
  const input = useRef<HTMLTextAreaElement>(null);
  const focus = (): void => input.current?.focus();
  useKeys({ e: focus, "/": focus });
  return (
    <Editor
      value={props.value}
      label="LogQL query"
      placeholder={'LogQL, e.g. {service_name="wotr-api"} |= "timeout"'}
      language={LOGQL}
      error={props.error}
      onRun={props.onRun}
      inputRef={input}
    />
  );
}
