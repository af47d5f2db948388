/** Small building blocks: states of a panel, status words, popovers, segments, copying, text made safe to read. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "../api.ts";
import { useKeys } from "../keys.ts";
import type { Load } from "../load.ts";
import { Icon, type IconName } from "./icons.tsx";

/** Colour, shape and word of a state. */
export function Status({ kind, children }: { kind: "ok" | "warn" | "error" | "none"; children: ComponentChildren }) {
  const icon: Record<typeof kind, IconName> = { ok: "check", warn: "warn", error: "cross", none: "none" };
  return (
    <span class={`status ${kind}`}>
      <Icon name={icon[kind]} />
      {children}
    </span>
  );
}

/** Nothing to show, and what to do next. */
export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="state">
      <strong>{title}</strong>
      {children}
    </div>
  );
}

/** A failed load: the server's words and a way to try again. */
export function Failure({ error, retry }: { error: Error; retry: () => void }) {
  const status = error instanceof ApiError && error.status > 0 ? ` (HTTP ${error.status})` : "";
  return (
    <div class="failure" role="alert">
      <Icon name="cross" />
      <pre>
        {error.message}
        <span class="dim">{status}</span>
      </pre>
      <button type="button" class="btn small" onClick={retry}>
        Retry
      </button>
    </div>
  );
}

/**
 * The states every panel shares: first load, failure (with old data kept below), progress while reloading. `children`
 * draws the data.
 */
export function Loaded<T>({ load, children }: { load: Load<T>; children: (data: T) => ComponentChildren }) {
  return (
    <>
      {load.loading && <div class="progress" aria-hidden="true" />}
      {load.error && <Failure error={load.error} retry={load.retry} />}
      {load.data !== undefined && (
        <div class={load.loading ? "stale" : ""} style="display:contents">
          {children(load.data)}
        </div>
      )}
      {load.data === undefined && !load.error && (
        <div class="state" aria-busy="true">
          <span class="faint">Loading…</span>
        </div>
      )}
    </>
  );
}

/** A button that opens a small panel below itself. Closes on Escape, on a click elsewhere and by `close`. */
export function Popover(props: {
  label: ComponentChildren;
  title: string;
  buttonClass?: string;
  popClass?: string;
  right?: boolean;
  children: (close: () => void) => ComponentChildren;
}) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLSpanElement>(null);
  useEffect(() => {
    if (!open) return;
    const outside = (e: Event): void => {
      if (!root.current?.contains(e.target as Node)) setOpen(false);
    };
    document.addEventListener("pointerdown", outside);
    return () => document.removeEventListener("pointerdown", outside);
  }, [open]);
  const close = (): void => {
    setOpen(false);
    root.current?.querySelector("button")?.focus();
  };
  useKeys({ Escape: () => (open ? close() : false) });
  return (
    <span class="pop-anchor" ref={root}>
      <button
        type="button"
        class={`btn ${props.buttonClass ?? ""}`}
        title={props.title}
        aria-label={props.title}
        aria-expanded={open}
        onClick={() => setOpen(!open)}
      >
        {props.label}
      </button>
      {open && <div class={`pop ${props.right ? "right" : ""} ${props.popClass ?? ""}`}>{props.children(close)}</div>}
    </span>
  );
}

/** Exactly one of a few. */
export function Segments<T extends string>(props: {
  label: string;
  value: T;
  options: readonly (readonly [T, string])[];
  onChange: (value: T) => void;
}) {
  return (
    <div class="seg" role="group" aria-label={props.label}>
      {props.options.map(([value, text]) => (
        <button key={value} type="button" aria-pressed={value === props.value} onClick={() => props.onChange(value)}>
          {text}
        </button>
      ))}
    </div>
  );
}

/** Copies text to the clipboard and says so for a moment. */
export function Copy({ text, title = "Copy", label }: { text: string; title?: string; label?: string }) {
  const [done, setDone] = useState(false);
  const copy = (): void => {
    copyText(text).then(() => {
      setDone(true);
      window.setTimeout(() => setDone(false), 1500);
    });
  };
  return (
    <button type="button" class={`btn small quiet ${label ? "" : "icon-only"}`} title={title} aria-label={title} onClick={copy}>
      <Icon name={done ? "check" : "copy"} />
      {label && (done ? "Copied" : label)}
    </button>
  );
}

/** Clipboard with the old way as fall-back: the new one needs a secure context, plain HTTP on a LAN is not one. */
export async function copyText(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

/** A block of text to take away. */
export function Snippet({ text }: { text: string }) {
  return (
    <div class="snippet">
      <pre tabIndex={0}>{text}</pre>
      <Copy text={text} />
    </div>
  );
}

/**
 * Characters that reorder, hide or break text: C0/C1 controls, bidi marks, zero-width and line separators, fillers that
 * draw nothing, variation selectors but those of emoji, tags, lone surrogates.
 */
const UNSAFE =
  /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f\u2060-\u206f\u2800\u3164\ud800-\udfff\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb\u{e0000}-\u{e0fff}]/u;

/** Splits text into plain stretches and single unsafe characters written as escapes. */
export function escapeParts(text: string): { text: string; escaped: boolean }[] {
  if (!UNSAFE.test(text)) return [{ text, escaped: false }];
  const out: { text: string; escaped: boolean }[] = [];
  let plain = "";
  for (const ch of text) {
    if (!UNSAFE.test(ch)) {
      plain += ch;
      continue;
    }
    if (plain) out.push({ text: plain, escaped: false });
    plain = "";
    out.push({ text: controlName(ch), escaped: true });
  }
  if (plain) out.push({ text: plain, escaped: false });
  return out;
}

function controlName(ch: string): string {
  if (ch === "\n") return "\\n";
  if (ch === "\r") return "\\r";
  const code = ch.codePointAt(0) ?? 0;
  if (code > 0xffff) return `\\u{${code.toString(16)}}`;
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
}

/**
 * Text from outside, with everything that could deceive the eye made visible and search hits marked. With `breaks` a line
 * ends behind a newline's escape, where the surroundings keep line ends.
 */
export function SafeText({ text, marks = [], breaks = false }: { text: string; marks?: readonly string[]; breaks?: boolean }) {
  return (
    <>
      {escapeParts(text).map((p, i) =>
        p.escaped ? (
          <span key={i} class="control-char">
            {p.text}
            {breaks && p.text === "\\n" && "\n"}
          </span>
        ) : (
          markParts(p.text, marks).map((m, j) => (m.hit ? <mark key={`${i} ${j}`}>{m.text}</mark> : m.text))
        ),
      )}
    </>
  );
}

/** More hits in one stretch of text are not marked: each is an element. */
const MARKS_MAX = 200;

/** Cuts text at the search hits, from left to right. */
export function markParts(text: string, marks: readonly string[]): { text: string; hit: boolean }[] {
  const out: { text: string; hit: boolean }[] = [];
  let at = 0;
  while (out.length < 2 * MARKS_MAX) {
    const hit = marks.map((m) => ({ m, i: m ? text.indexOf(m, at) : -1 })).filter((h) => h.i >= 0).sort((a, b) => a.i - b.i || b.m.length - a.m.length)[0];
    if (!hit) break;
    if (hit.i > at) out.push({ text: text.slice(at, hit.i), hit: false });
    out.push({ text: hit.m, hit: true });
    at = hit.i + hit.m.length;
  }
  if (at < text.length) out.push({ text: text.slice(at), hit: false });
  return out;
}
