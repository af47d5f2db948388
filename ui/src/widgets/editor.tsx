/**
 * Query box: a textarea over coloured text, completion from the live data, complaints underlined where they point,
 * help on the word under the pointer or the caret. Enter runs, Shift-Enter breaks the line, Tab or Enter takes a
 * suggestion, Ctrl-Space asks for some.
 *
 * A language plugs in as `Language`.
 */
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { ApiError } from "../api.ts";
import { px } from "../load.ts";
import { lex, type Token } from "../query/lex.ts";

/** One suggestion. */
export interface Suggestion {
  text: string;
  hint?: string;
  /** A line of help, shown while the suggestion is selected. */
  detail?: string;
  /** What is written instead of `text`. */
  insert?: string;
}

/** Suggestions for a stretch of the text. */
export interface Proposal {
  from: number;
  to: number;
  items: Suggestion[];
  /** Whether the stretch lies inside of quotes, so that what is written needs escapes and the closing one. */
  quoted: boolean;
  /** Whether the list opens by itself, before a letter of the word is typed. */
  eager: boolean;
}

/** A complaint about a stretch of the text. */
export interface Problem {
  from: number;
  to: number;
  message: string;
  hint?: string;
}

/** Help on a word. */
export interface Help {
  title: string;
  text: string;
}

/** What a query language knows about its text. */
export interface Language {
  complete: (text: string, caret: number) => Promise<Proposal | null>;
  check: (text: string) => Promise<Problem[]>;
  help: (word: string) => Promise<Help | null>;
}

const SUGGESTIONS_MAX = 60;
const CHECK_AFTER_MS = 150;
const HELP_AFTER_MS = 250;

interface Props {
  value: string;
  placeholder: string;
  label: string;
  language: Language;
  error?: Error | undefined;
  onRun: (text: string) => void;
  /** Told of every change of the text, run or not. */
  onDraft?: (text: string) => void;
  /** A text to take over, by identity: a new object replaces what is typed. */
  replace?: { text: string } | undefined;
  inputRef?: { current: HTMLTextAreaElement | null };
}

interface Popup {
  /** The text that it was made for. */
  text: string;
  proposal: Proposal;
  items: Suggestion[];
  selected: number;
  left: number;
  top: number;
}

/** The editor. `value` is the committed text; typing changes a draft until it is run. */
export function Editor(props: Props) {
  const [draft, setText] = useState(props.value);
  const [popup, setPopup] = useState<Popup | null>(null);
  const own = useRef<HTMLTextAreaElement>(null);
  const area = props.inputRef ?? own;
  const asked = useRef(0);
  const setDraft = (text: string): void => {
    setText(text);
    props.onDraft?.(text);
  };
  useEffect(() => setDraft(props.value), [props.value]);
  useEffect(() => {
    if (props.replace) setDraft(props.replace.text);
  }, [props.replace]);
  useLayoutEffect(() => {
    const e = area.current;
    if (!e) return;
    e.style.height = "32px";
    e.style.height = `${Math.min(240, e.scrollHeight)}px`;
  }, [draft]);
  const problems = useProblems(draft, props.language);
  const { help, onPointerMove, onPointerLeave, atCaret } = useHelp(props.language, area);

  // Keys may come before what was typed is drawn: the box knows the text, a closure may know an older one.
  const typed = (): string => area.current?.value ?? draft;
  const run = (): void => {
    asked.current++;
    setPopup(null);
    props.onRun(typed().trim());
  };
  const ask = async (text: string, caret: number, forced: boolean): Promise<void> => {
    const turn = ++asked.current;
    const proposal = await props.language.complete(text, caret).catch(() => null);
    if (turn !== asked.current) return;
    if (!proposal) return setPopup(null);
    const prefix = text.slice(proposal.from, caret);
    if (!forced && !proposal.eager && prefix === "") return setPopup(null);
    const items = rank(proposal.items, prefix);
    const exact = items.length === 1 && items[0]?.text === prefix;
    setPopup(items.length === 0 || exact ? null : { text, proposal, items, selected: 0, ...caretPlace(area.current, proposal.from) });
  };
  const accept = (item: Suggestion): void => {
    const e = area.current;
    if (!popup || !e) return;
    const next = completed(e.value, popup.proposal, item, e.selectionEnd);
    // At once, not after the next drawing: who types on must type after the suggestion.
    e.value = next.text;
    e.focus();
    e.setSelectionRange(next.caret, next.caret);
    setDraft(next.text);
    setPopup(null);
    atCaret();
  };
  /** Whether what is offered still stands: the answer for the newest text may be on its way, and Enter must not take another. */
  const stands = ({ text, proposal, items, selected }: Popup): boolean => {
    const e = area.current;
    if (!e || e.value === text) return true;
    const prefix = e.value.slice(proposal.from, e.selectionEnd).toLowerCase();
    return items[selected]?.text.toLowerCase().startsWith(prefix) ?? false;
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (popup && stands(popup) && popupKey(event, popup, setPopup, accept)) return event.preventDefault();
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      run();
    } else if (event.key === " " && event.ctrlKey) {
      event.preventDefault();
      void ask(typed(), area.current?.selectionEnd ?? 0, true);
    } else if (event.key === "Escape") {
      area.current?.blur();
    }
  };
  const wrongAt = useMemo(() => offsetOf(props.value, props.error), [props.value, props.error]);
  const marks = problems.length > 0 ? problems : wrongAt !== null && draft.trim() === props.value ? [{ from: wrongAt, to: wrongAt + 1, message: "" }] : [];
  return (
    <div class="editor-box">
      <div class="editor" onPointerMove={onPointerMove} onPointerLeave={onPointerLeave}>
        <pre aria-hidden="true">
          <Coloured text={draft} marks={marks} />
        </pre>
        <textarea
          ref={area}
          rows={1}
          value={draft}
          placeholder={props.placeholder}
          aria-label={props.label}
          aria-invalid={problems.length > 0}
          spellcheck={false}
          autocomplete="off"
          autocapitalize="off"
          onKeyDown={onKeyDown}
          onKeyUp={atCaret}
          onClick={atCaret}
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
        {help && !popup && (
          <div class="tip hover-help" style={{ left: px(help.left), top: px(help.top) }}>
            <code>{help.help.title}</code>
            {help.help.text && <div>{help.help.text}</div>}
          </div>
        )}
      </div>
      <Line problems={popup ? [] : problems} />
    </div>
  );
}

/** What is wrong, in one line that is there only when there is something to say. */
function Line({ problems }: { problems: readonly Problem[] }) {
  const first = problems[0];
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : "";
  return (
    <div class="editor-line" role="status">
      {first && (
        <span class="error-text">
          {first.message}
          {first.hint ? `; ${first.hint}` : ""}
          {more}
        </span>
      )}
    </div>
  );
}

/** Complaints about the draft, asked for when typing pauses. */
function useProblems(draft: string, language: Language): Problem[] {
  const [found, setFound] = useState<{ text: string; problems: Problem[] }>({ text: "", problems: [] });
  useEffect(() => {
    if (draft.trim() === "") return setFound({ text: draft, problems: [] });
    let dropped = false;
    const timer = window.setTimeout(() => {
      language.check(draft).then(
        (problems) => !dropped && setFound({ text: draft, problems }),
        () => !dropped && setFound({ text: draft, problems: [] }),
      );
    }, CHECK_AFTER_MS);
    return () => {
      dropped = true;
      window.clearTimeout(timer);
    };
  }, [draft]);
  // Underlines of an older text would stand at the wrong words.
  return found.text === draft ? found.problems : [];
}

interface Shown {
  help: Help;
  left: number;
  top: number;
}

/** Help on the word under the pointer, after it has rested. */
function useHelp(language: Language, area: { current: HTMLTextAreaElement | null }) {
  const [help, setHelp] = useState<Shown | null>(null);
  const timer = useRef(0);
  const word = useRef("");
  const clear = (): void => {
    window.clearTimeout(timer.current);
    word.current = "";
    setHelp(null);
  };
  const onPointerMove = (e: PointerEvent): void => {
    if (e.pointerType === "touch") return;
    const host = area.current?.parentElement;
    const span = host ? spanUnder(host, e.clientX, e.clientY) : undefined;
    const text = span && /^[\w:]+$/.test(span.text) ? span.text : "";
    if (text === word.current) return;
    clear();
    word.current = text;
    if (!span || !text) return;
    timer.current = window.setTimeout(() => {
      void language.help(text).then((found) => {
        if (found && word.current === text) setHelp({ help: found, left: span.left, top: span.top });
      });
    }, HELP_AFTER_MS);
  };
  useEffect(() => () => window.clearTimeout(timer.current), []);
  return { help, onPointerMove, onPointerLeave: clear, atCaret: clear };
}

/** The token of the coloured text under a point of the screen, with its place in the editor. */
function spanUnder(host: Element, x: number, y: number): { text: string; left: number; top: number } | undefined {
  const at = host.getBoundingClientRect();
  for (const span of host.querySelectorAll("pre > span")) {
    for (const r of span.getClientRects()) {
      if (x >= r.left && x <= r.right && y >= r.top && y <= r.bottom) {
        return { text: span.textContent ?? "", left: Math.min(r.left - at.left, Math.max(0, at.width - 320)), top: r.bottom - at.top + 4 };
      }
    }
  }
  return undefined;
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
  const detail = popup.items[popup.selected]?.detail;
  return (
    <div class="complete" style={{ left: px(popup.left), top: px(popup.top) }}>
      <div role="listbox" aria-label="Suggestions" ref={list}>
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
      {detail && <div class="detail">{detail}</div>}
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

/** The text with a suggestion written in, and where the caret goes. */
export function completed(text: string, proposal: Proposal, item: Suggestion, caret: number): { text: string; caret: number } {
  const before = text.slice(0, proposal.from);
  const after = text.slice(Math.max(caret, proposal.to));
  let piece = item.insert ?? item.text;
  if (piece.endsWith("(") && after.startsWith("(")) piece = piece.slice(0, -1);
  if (!proposal.quoted) return { text: before + piece + after, caret: before.length + piece.length };
  const quote = text[proposal.from - 1] ?? '"';
  // Backticks know no escapes.
  if (quote !== "`") piece = JSON.stringify(piece).slice(1, -1);
  const closed = after.startsWith(quote);
  const all = before + piece + (closed ? "" : quote) + after;
  return { text: all, caret: before.length + piece.length + 1 };
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

function Coloured({ text, marks }: { text: string; marks: readonly Problem[] }) {
  const tokens = lex(text);
  const end = text.length;
  const wrong = (t: Token, i: number): boolean =>
    marks.some((m) => (m.from < t.at + t.text.length && Math.max(m.to, m.from + 1) > t.at) || (m.from >= end && i === tokens.length - 1));
  return (
    <>
      {tokens.map((t, i) => (
        <span key={i} class={`t-${t.kind}${wrong(t, i) ? " wrong" : ""}`}>
          {t.text}
        </span>
      ))}
      {"\u200b"}
    </>
  );
}
