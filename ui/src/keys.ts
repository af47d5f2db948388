/** Keyboard: one listener, sequences of at most two keys, silent while the reader types. */
import { useEffect, useRef } from "preact/hooks";

/** Handlers by key sequence: `j`, `Escape`, `g m`, `t ArrowLeft`, `Ctrl+k`. Return false to let the key pass. */
export type KeyMap = Record<string, (event: KeyboardEvent) => void | false>;

const PREFIXES = new Set(["g", "t"]);
const SEQUENCE_MS = 1200;
const layers: { current: KeyMap }[] = [];
let pending = { key: "", at: 0 };

function typing(target: EventTarget | null): boolean {
  const e = target as HTMLElement | null;
  return e !== null && (e.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(e.tagName ?? ""));
}

function name(event: KeyboardEvent): string {
  const control = event.ctrlKey || event.metaKey ? "Ctrl+" : "";
  return control + (event.key.length === 1 && control ? event.key.toLowerCase() : event.key);
}

/** Keys that already mean something on what has the focus. */
function ownKey(target: EventTarget | null, key: string): boolean {
  return (key === "Enter" || key === " ") && (target as Element | null)?.closest?.("a, button, summary, [role=option]") != null;
}

function dispatch(sequence: string, event: KeyboardEvent): boolean {
  for (let i = layers.length - 1; i >= 0; i--) {
    const handler = layers[i]?.current[sequence];
    if (handler && handler(event) !== false) {
      event.preventDefault();
      return true;
    }
  }
  return false;
}

function pressed(event: KeyboardEvent): void {
  const key = name(event);
  if (event.defaultPrevented || event.altKey || event.isComposing || ownKey(event.target, key)) return;
  // A modal dialog handles its own keys.
  if (document.querySelector("dialog[open]")) return;
  const inField = typing(event.target);
  if (inField && !key.startsWith("Ctrl+") && key !== "Escape") return;
  const now = performance.now();
  if (pending.key && now - pending.at < SEQUENCE_MS) {
    const sequence = `${pending.key} ${key}`;
    pending.key = "";
    if (dispatch(sequence, event)) return;
  }
  if (dispatch(key, event)) return;
  if (inField && key === "Escape") (event.target as HTMLElement).blur();
  if (PREFIXES.has(key)) pending = { key, at: now };
}

/** Installs the listener. Called once. */
export function startKeys(): void {
  document.addEventListener("keydown", pressed);
}

/** Adds handlers while the component is mounted; the latest mounted wins. */
export function useKeys(map: KeyMap): void {
  const layer = useRef(map);
  layer.current = map;
  useEffect(() => {
    layers.push(layer);
    return () => {
      layers.splice(layers.indexOf(layer), 1);
    };
  }, []);
}
