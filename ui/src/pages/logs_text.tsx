/** Text of log lines: colours of terminals drawn, everything deceptive made visible, what is very long cut. */
import { useState } from "preact/hooks";
import { ansiParts } from "../ansi.ts";
import { integer } from "../units.ts";
import { SafeText } from "../widgets/basics.tsx";

/** A line or a part of one. */
export function LineText({ text, marks = [], breaks = false }: { text: string; marks?: readonly string[]; breaks?: boolean }) {
  if (!text.includes("\u001b")) return <SafeText text={text} marks={marks} breaks={breaks} />;
  return (
    <>
      {ansiParts(text).map((p, i) =>
        p.style ? (
          <span key={i} class={p.style}>
            <SafeText text={p.text} marks={marks} breaks={breaks} />
          </span>
        ) : (
          <SafeText key={i} text={p.text} marks={marks} breaks={breaks} />
        ),
      )}
    </>
  );
}

/** Cuts a text without splitting a pair of surrogates. */
export function cut(text: string, max: number): string {
  if (text.length <= max) return text;
  const last = text.charCodeAt(max - 1);
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? max - 1 : max);
}

const LONG_CHARS = 4000;

/** Text that may be very long: cut, with a button that shows all of it. Lines end where they end in the text. */
export function LongText({ text, marks, max = LONG_CHARS }: { text: string; marks?: readonly string[]; max?: number }) {
  const [all, setAll] = useState(false);
  if (all || text.length <= max) return <LineText text={text} marks={marks ?? []} breaks />;
  return (
    <>
      <LineText text={cut(text, max)} marks={marks ?? []} breaks />
      <button type="button" class="chip show-all" onClick={(e) => (e.stopPropagation(), setAll(true))}>
        … show all {integer(text.length)} characters
      </button>
    </>
  );
}
