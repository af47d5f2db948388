/** Loading data into a component: aborts what is outdated, keeps what is on screen until the new data is there. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";

/** State of a load. `data` survives reloading and errors, so nothing blanks. */
export interface Load<T> {
  data: T | undefined;
  error: Error | undefined;
  loading: boolean;
  /** Key the data belongs to: when it differs from the asked one, the data is old. */
  loadedKey: string | undefined;
  retry: () => void;
}

let running = 0;

/** Whether any load is under way: automatic refreshes wait, so that a slow server is not asked faster than it answers. */
export const busy = (): boolean => running > 0;

/**
 * Runs `fetcher` whenever `key` changes; null means "nothing to load". `family` names what the data is about: when it
 * changes, the old data is dropped at once instead of shown dimmed.
 */
export function useLoad<T>(key: string | null, fetcher: (signal: AbortSignal) => Promise<T>, family = ""): Load<T> {
  const [state, setState] = useState<{ data?: T; error?: Error; loadedKey?: string; family: string }>({ family });
  const [loading, setLoading] = useState(key !== null);
  const [attempt, setAttempt] = useState(0);
  const latest = useRef(fetcher);
  latest.current = fetcher;

  useEffect(() => {
    if (key === null) {
      setLoading(false);
      return;
    }
    const abort = new AbortController();
    setLoading(true);
    running++;
    const request = latest.current(abort.signal);
    const settled = (): void => void running--;
    request.then(settled, settled);
    request.then(
      (data) => {
        if (abort.signal.aborted) return;
        setState({ data, loadedKey: key, family });
        setLoading(false);
      },
      (e: unknown) => {
        if (abort.signal.aborted) return;
        const error = e instanceof Error ? e : new Error(String(e));
        setState((old) => ({ ...(old.family === family ? old : { family }), error }));
        setLoading(false);
      },
    );
    return () => abort.abort();
  }, [key, attempt, family]);

  const retry = useCallback(() => setAttempt((n) => n + 1), []);
  const fresh = state.family === family && key !== null;
  return {
    data: fresh ? state.data : undefined,
    error: fresh ? state.error : undefined,
    loadedKey: fresh ? state.loadedKey : undefined,
    loading,
    retry,
  };
}

const cache = new Map<string, { at: number; value: Promise<unknown> }>();
const CACHE_MS = 30_000;
const CACHE_ENTRIES_MAX = 200;

/** Remembers slow-moving answers (names of metrics, labels, services) for half a minute. */
export function cached<T>(key: string, make: () => Promise<T>): Promise<T> {
  const hit = cache.get(key);
  if (hit && performance.now() - hit.at < CACHE_MS) return hit.value as Promise<T>;
  if (cache.size >= CACHE_ENTRIES_MAX) cache.clear();
  const value = make();
  value.catch(() => cache.delete(key));
  cache.set(key, { at: performance.now(), value });
  return value;
}

/** Width of an element, following its resizes; 0 until it is measured. */
export function useWidth<E extends HTMLElement>(): [{ current: E | null }, number] {
  const ref = useRef<E>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const element = ref.current;
    if (!element) return;
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)));
    observer.observe(element);
    setWidth(Math.floor(element.clientWidth));
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}

/** A length for a style attribute; numbers alone mean nothing there. */
export const px = (n: number): string => `${Math.round(n * 100) / 100}px`;

/** Whether the element has come near the viewport; stays true afterwards. */
export function useSeen<E extends HTMLElement>(): [{ current: E | null }, boolean] {
  const ref = useRef<E>(null);
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    const element = ref.current;
    if (!element || seen) return;
    const observer = new IntersectionObserver((entries) => entries.some((e) => e.isIntersecting) && setSeen(true), {
      rootMargin: "200px",
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, [seen]);
  return [ref, seen];
}
