/** Which rows of a long list are near the viewport: the others are not drawn, their room is kept by padding. */
import { useEffect, useRef, useState } from "preact/hooks";

/** Rows drawn beyond each edge, so that scrolling shows no holes. */
const MARGIN_PX = 400;

/** First row to draw and the one after the last; room to leave above and below, in pixels. */
export interface RowWindow {
  first: number;
  end: number;
  above: number;
  below: number;
}

/** The rows of a list that lie between two heights measured from its top. */
export function rowsWithin(count: number, rowHeight: number, from: number, to: number): RowWindow {
  const first = Math.max(0, Math.min(count, Math.floor((from - MARGIN_PX) / rowHeight)));
  const end = Math.max(first, Math.min(count, Math.ceil((to + MARGIN_PX) / rowHeight)));
  return { first, end, above: first * rowHeight, below: (count - end) * rowHeight };
}

/** Follows every scroll and resize around the element it is attached to. */
export function useRows<E extends HTMLElement>(count: number, rowHeight: number): [{ current: E | null }, RowWindow] {
  const ref = useRef<E>(null);
  const [span, setSpan] = useState({ from: 0, to: window.innerHeight });
  useEffect(() => {
    let asked = 0;
    const measure = (): void => {
      asked = 0;
      const top = ref.current?.getBoundingClientRect().top ?? 0;
      // Whole rows only: most scroll events then change nothing.
      const from = Math.floor(-top / rowHeight) * rowHeight;
      setSpan((old) => (old.from === from ? old : { from, to: from + window.innerHeight + rowHeight }));
    };
    const ask = (): void => void (asked ||= window.requestAnimationFrame(measure));
    measure();
    document.addEventListener("scroll", ask, { capture: true, passive: true });
    window.addEventListener("resize", ask);
    return () => {
      window.cancelAnimationFrame(asked);
      document.removeEventListener("scroll", ask, { capture: true });
      window.removeEventListener("resize", ask);
    };
  }, [rowHeight]);
  return [ref, rowsWithin(count, rowHeight, span.from, span.to)];
}
