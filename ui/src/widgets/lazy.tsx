/** Components fetched when they are first shown: what a page does not need at once must not delay it. */
import { h, type ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";

/** Wraps a dynamic import. Holds `reserve` pixels of height until the code is there, and says so when it does not come. */
export function lazy<P extends object>(load: () => Promise<ComponentType<P>>, reserve = 0): ComponentType<P> {
  let known: ComponentType<P> | undefined;
  return function Lazy(props: P) {
    const [view, setView] = useState<ComponentType<P> | undefined>(() => known);
    const [failed, setFailed] = useState(false);
    useEffect(() => {
      // Another one may have fetched it since this one was drawn.
      if (known) return setView(() => known);
      load().then(
        (c) => {
          known = c;
          setView(() => c);
        },
        () => setFailed(true),
      );
    }, []);
    if (view) return h(view, props);
    return failed ? <div class="state">This part of the interface could not be loaded. Reload the page.</div> : <div aria-busy="true" style={{ minHeight: `${reserve}px` }} />;
  };
}
