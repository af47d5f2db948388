/** The list of services the scope chip opens. */
import "../core.ts";
import { useEffect, useState } from "preact/hooks";
import { home } from "../api.ts";
import { traceServices } from "../api_traces.ts";
import { cached } from "../load.ts";
import { patch } from "../router.ts";
import { range, service, tenant } from "../state.ts";

/** Services from traces and from the home page: a service may send only one of the signals. */
async function serviceNames(): Promise<string[]> {
  const { from, to } = range.value;
  const [traced, known] = await Promise.all([
    traceServices().catch(() => []),
    home(from / 1000, to / 1000)
      .then((h) => h.services.map((s) => s.name))
      .catch(() => []),
  ]);
  return [...new Set([...traced, ...known])].sort();
}

/** The list. */
export function ServiceList({ close }: { close: () => void }) {
  const [names, setNames] = useState<string[] | null>(null);
  const [find, setFind] = useState("");
  useEffect(() => {
    cached(`scope-services ${tenant.value}`, serviceNames).then(setNames, () => setNames([]));
  }, []);
  const pick = (name: string): void => (close(), patch({ service: name }));
  const shown = (names ?? []).filter((n) => n.toLowerCase().includes(find.toLowerCase()));
  return (
    <>
      <input
        class="field"
        style="width:100%;margin-bottom:4px"
        autofocus
        placeholder="Find a service"
        aria-label="Find a service"
        value={find}
        onInput={(e) => setFind(e.currentTarget.value)}
        onKeyDown={(e) => e.key === "Enter" && shown[0] && pick(shown[0])}
      />
      <button type="button" role="menuitemradio" class="menu-item" aria-checked={service.value === ""} onClick={() => pick("")}>
        All services
      </button>
      {shown.map((n) => (
        <button key={n} type="button" role="menuitemradio" class="menu-item" aria-checked={service.value === n} onClick={() => pick(n)}>
          <span class="clip">{n}</span>
        </button>
      ))}
      {names === null && <div class="menu-title">Loading…</div>}
      {names !== null && shown.length === 0 && <div class="menu-title">No service {find ? "fits" : "has been seen"}</div>}
    </>
  );
}
