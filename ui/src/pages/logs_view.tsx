/** How rows look: wrapping, stamps, the line as it came, columns. All of it stands in the URL. */
import "../core.ts";
import { param, patch } from "../router.ts";
import { Segments } from "../widgets/basics.tsx";
import { zone } from "../state.ts";
import type { StampMode } from "./logs_list.tsx";

/** The panel of the popover. */
export function ViewMenu({ stamp, columns }: { stamp: StampMode; columns: readonly string[] }) {
  const toggle = (name: string): void => patch({ [name]: param(name) === "1" ? "" : "1" }, true);
  return (
    <div class="view-menu">
      <div class="menu-title">Times</div>
      <Segments<StampMode>
        label="Times"
        value={stamp}
        options={[
          ["time", "Clock"],
          ["date", "Date"],
          ["ns", "Nanoseconds"],
        ]}
        onChange={(t) => patch({ ts: t === "time" ? "" : t }, true)}
      />
      <Segments<"local" | "utc">
        label="Zone"
        value={zone.value}
        options={[
          ["local", "Local"],
          ["utc", "UTC"],
        ]}
        onChange={(z) => patch({ tz: z === "utc" ? "utc" : "" }, true)}
      />
      <div class="menu-title">Lines</div>
      <button type="button" class="menu-item" role="menuitemcheckbox" aria-checked={param("raw") === "1"} onClick={() => toggle("raw")}>
        As they came, without taking JSON apart
      </button>
      <button type="button" class="menu-item" role="menuitemcheckbox" aria-checked={param("wrap") === "1"} onClick={() => toggle("wrap")}>
        Wrapped
      </button>
      {columns.length > 0 && (
        <button type="button" class="menu-item" onClick={() => patch({ cols: "" }, true)}>
          Without columns
        </button>
      )}
    </div>
  );
}
