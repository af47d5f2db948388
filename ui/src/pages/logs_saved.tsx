/** Saved and recent searches, kept in the browser. */
import "../core.ts";
import { useState } from "preact/hooks";
import { go, link, place } from "../router.ts";
import { keepSaved, recentQueries, savedSearches, withSaved } from "../query/saved.ts";
import { SafeText } from "../widgets/basics.tsx";
import { Icon } from "../widgets/icons.tsx";

/** Parameters that make a search; time, tenant and what is open do not belong to it. */
const KEPT = ["q", "cols", "by", "wrap", "raw", "ts", "service"];

function paramsNow(query: string): string {
  const out = new URLSearchParams();
  for (const name of KEPT) {
    const value = name === "q" ? query : place.peek().params.get(name);
    if (value) out.set(name, value);
  }
  return out.toString();
}

/** The panel of the popover. */
export function SavedSearches({ query, close }: { query: string; close: () => void }) {
  const [saved, setSaved] = useState(savedSearches);
  const [name, setName] = useState("");
  const [failed, setFailed] = useState(false);
  const keep = (list: ReturnType<typeof savedSearches>): void => {
    setFailed(!keepSaved(list));
    setSaved(list);
  };
  const open = (params: string): void => {
    close();
    go(link("logs", { service: "", ...Object.fromEntries(new URLSearchParams(params)) }));
  };
  return (
    <div class="saved">
      <form
        class="row"
        onSubmit={(e) => {
          e.preventDefault();
          keep(withSaved(saved, { name, params: paramsNow(query) }));
          setName("");
        }}
      >
        <input class="field grow" aria-label="Name of this search" placeholder="Name of this search" value={name} onInput={(e) => setName(e.currentTarget.value)} />
        <button type="submit" class="btn small" disabled={name.trim() === ""}>
          Save
        </button>
      </form>
      {failed && <div class="menu-title error-text">This browser does not let the page keep anything.</div>}
      {saved.map((s) => (
        <div class="row" key={s.name}>
          <button type="button" class="menu-item grow" title={new URLSearchParams(s.params).get("q") ?? ""} onClick={() => open(s.params)}>
            <span class="clip">
              <SafeText text={s.name} />
            </span>
          </button>
          <button type="button" class="btn small quiet icon-only" title="Forget" aria-label={`Forget ${s.name}`} onClick={() => keep(saved.filter((x) => x.name !== s.name))}>
            <Icon name="close" />
          </button>
        </div>
      ))}
      {saved.length === 0 && <div class="menu-title">Nothing saved yet. Searches are kept in this browser; to share one, copy its link.</div>}
      <div class="menu-title">Recent</div>
      {recentQueries().map((q) => (
        <button key={q} type="button" class="menu-item mono" title={q} onClick={() => open(new URLSearchParams({ q }).toString())}>
          <span class="clip">
            <SafeText text={q} />
          </span>
        </button>
      ))}
    </div>
  );
}
