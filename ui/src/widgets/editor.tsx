/**
 * Query box: a textarea over coloured text, completion from the live data, the server's complaint underlined where it
 * points. Enter runs, Shift-Enter breaks the line, Tab or Enter takes a suggestion.
 */
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { ApiError } from "../api.ts";
import { px } from "../load.ts";
import { contextAt, lex, type Completion, type Token } from "../query/lex.ts";

/** One suggestion. */
export interface Suggestion {
  text: string;
  hint?: string;
}

/** Where suggestions come from. */
export type Suggest = (context: Completion) => Promise<Suggestion[]>;

const SUGGESTIONS_MAX = 60;

interface Props {
  value: string;
  placeholder: string;
  label: string;
  suggest: Suggest;
  error?: Error | undefined;
  onRun: (text: string) => void;
  inputRef?: { current: HTMLTextAreaElement | null };
}

interface Popup {
  context: Completion;
  items: Suggestion[];
  selected: number;
  left: number;
  top: number;
}

/** The editor. `value` is the committed text; typing changes a draft until it is run. */
export function Editor(props: Props) {
  const [draft, setDraft] = useState(props.value);
  const [popup, setPopup] = useState<Popup | null>(null);
  const own = useRef<HTMLTextAreaElement>(null);
  const area = props.inputRef ?? own;
  const asked = useRef(0);
  useEffect(() => setDraft(props.value), [props.value]);
  useLayoutEffect(() => {
    const e = area.current;
    if (!e) return;
    e.style.height = "32px";
    e.style.height = `${Math.min(240, e.scrollHeight)}px`;
  }, [draft]);

  const run = (): void => {
    setPopup(null);
    props.onRun(draft.trim());
  };
  const ask = async (text: string, caret: number, forced: boolean): Promise<void> => {
    const turn = ++asked.current;
    const context = contextAt(text, caret);
    if (!context || (!forced && context.want === "name" && context.prefix === "")) return setPopup(null);
    const all = await props.suggest(context).catch(() => []);
    if (turn !== asked.current) return;
    const items = rank(all, context.prefix);
    const exact = items.length === 1 && items[0]?.text === context.prefix;
    setPopup(items.length === 0 || exact ? null : { context, items, selected: 0, ...caretPlace(area.current, context.from) });
  };
  const accept = (item: Suggestion): void => {
    const e = area.current;
    if (!popup || !e) return;
    const next = completed(draft, popup.context, item.text, e.selectionEnd);
    // At once, not after the next drawing: who types on must type after the suggestion.
    e.value = next.text;
    e.focus();
    e.setSelectionRange(next.caret, next.caret);
    setDraft(next.text);
    setPopup(null);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (popup && popupKey(event, popup, setPopup, accept)) return event.preventDefault();
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      run();
    } else if (event.key === " " && event.ctrlKey) {
      event.preventDefault();
      void ask(draft, area.current?.selectionEnd ?? 0, true);
    } else if (event.key === "Escape") {
      area.current?.blur();
    }
  };
  const wrongAt = useMemo(() => offsetOf(props.value, props.error), [props.value, props.error]);
  return (
    <div class="editor">
      <pre aria-hidden="true">
        <Coloured text={draft} wrongAt={draft.trim() === props.value ? wrongAt : null} />
      </pre>
      <textarea
        ref={area}
        rows={1}
        value={draft}
        placeholder={props.placeholder}
        aria-label={props.label}
        spellcheck={false}
        autocomplete="off"
        autocapitalize="off"
        onKeyDown={onKeyDown}
        onInput={(e) => {
          setDraft(e.currentTarget.value);
          void ask(e.currentTarget.value, e.currentTarget.selectionEnd, false);
        }}
        onBlur={() => {
          asked.current++;
          setPopup(null);
        }}
      />
      {popup && <Suggestions popup={popup} accept={accept} />}
    </div>
  );
}

function popupKey(event: KeyboardEvent, popup: Popup, set: (p: Popup | null) => void, accept: (s: Suggestion) => void): boolean {
  const n = popup.items.length;
  if (event.key === "ArrowDown") set({ ...popup, selected: (popup.selected + 1) % n });
  else if (event.key === "ArrowUp") set({ ...popup, selected: (popup.selected + n - 1) % n });
  else if (event.key === "Escape") set(null);
  else if (event.key === "Tab" || (event.key === "Enter" && !event.shiftKey && !event.ctrlKey)) {
    const item = popup.items[popup.selected];
    if (item) accept(item);
  } else return false;
  event.stopPropagation();
  return true;
}

function Suggestions({ popup, accept }: { popup: Popup; accept: (s: Suggestion) => void }) {
  const list = useRef<HTMLDivElement>(null);
  useEffect(() => list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" }), [popup.selected]);
  return (
    <div class="complete" role="listbox" aria-label="Suggestions" ref={list} style={{ left: px(popup.left), top: px(popup.top) }}>
      {popup.items.map((item, i) => (
        <div
          key={item.text}
          class="menu-item"
          role="option"
          aria-selected={i === popup.selected}
          onPointerDown={(e) => {
            e.preventDefault();
            accept(item);
          }}
        >
          <span class="clip">{item.text}</span>
          {item.hint && <span class="hint">{item.hint}</span>}
        </div>
      ))}
    </div>
  );
}

/** Prefix matches first, then matches inside, each alphabetical. */
export function rank(all: readonly Suggestion[], prefix: string): Suggestion[] {
  const p = prefix.toLowerCase();
  const scored = all.flatMap((s) => {
    const at = s.text.toLowerCase().indexOf(p);
    return at < 0 ? [] : [{ s, score: at === 0 ? 0 : 1 }];
  });
  scored.sort((a, b) => a.score - b.score || (a.s.text < b.s.text ? -1 : 1));
  return scored.slice(0, SUGGESTIONS_MAX).map((x) => x.s);
}

function completed(text: string, context: Completion, insert: string, caret: number): { text: string; caret: number } {
  const before = text.slice(0, context.from);
  const after = text.slice(caret);
  let piece = insert;
  if (context.want === "value") {
    piece = JSON.stringify(insert).slice(1, -1);
    const quote = text[context.from - 1] ?? '"';
    if (!after.startsWith(quote)) piece += quote;
  }
  const end = before.length + piece.length;
  return { text: before + piece + after, caret: context.want === "value" && after.startsWith('"') ? end + 1 : end };
}

/** Pixel position below a character, measured with a hidden copy of the text. */
function caretPlace(area: HTMLTextAreaElement | null, index: number): { left: number; top: number } {
  if (!area) return { left: 0, top: 32 };
  const copy = document.createElement("div");
  const style = getComputedStyle(area);
  copy.style.cssText = `position:absolute;visibility:hidden;white-space:pre-wrap;overflow-wrap:anywhere;font:${style.font};padding:${style.padding};width:${area.clientWidth}px`;
  copy.textContent = area.value.slice(0, index);
  const mark = document.createElement("span");
  mark.textContent = "\u200b";
  copy.append(mark);
  area.parentElement?.append(copy);
  const place = { left: Math.min(mark.offsetLeft, Math.max(0, area.clientWidth - 240)), top: mark.offsetTop + 24 };
  copy.remove();
  return place;
}

function offsetOf(text: string, error: Error | undefined): number | null {
  if (!(error instanceof ApiError) || !error.at) return null;
  const lines = text.split("\n");
  let offset = 0;
  for (let i = 0; i < error.at.line - 1; i++) offset += (lines[i]?.length ?? 0) + 1;
  return Math.min(text.length, offset + error.at.column - 1);
}

function Coloured({ text, wrongAt }: { text: string; wrongAt: number | null }) {
  const tokens = lex(text);
  const holds = (t: Token, i: number): boolean =>
    wrongAt !== null && ((t.at <= wrongAt && wrongAt < t.at + t.text.length) || (wrongAt >= text.length && i === tokens.length - 1));
  return (
    <>
      {tokens.map((t, i) => (
        <span key={i} class={`t-${t.kind}${holds(t, i) ? " wrong" : ""}`}>
          {t.text}
        </span>
      ))}
      {"\u200b"}
    </>
  );
}
