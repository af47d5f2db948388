/** The bar on top of every page: command bar, scope, time, refresh, theme, help. */
import { patch } from "../router.ts";
import { refresh, refreshChoice, refreshEvery, REFRESH_CHOICES, service, tenant, theme, zone, type Theme } from "../state.ts";
import { Popover } from "../widgets/basics.tsx";
import { Icon, type IconName } from "../widgets/icons.tsx";
import { commandOpen, helpOpen } from "./open.ts";
import { lazy } from "../widgets/lazy.tsx";
import { RangePicker } from "./range.tsx";

const ServiceList = lazy(() => import("./services.tsx").then((m) => m.ServiceList));

const TENANTS: readonly [string, string, string][] = [
  ["", "default", "what your services send"],
  ["self", "self", "Kenning watching itself"],
];

function TenantChip() {
  const current = TENANTS.find(([id]) => id === tenant.value);
  return (
    <Popover
      title="Tenant"
      buttonClass="scope"
      label={
        <>
          <span class="key">tenant</span>
          <span class="clip">{current?.[1] ?? tenant.value}</span>
          <Icon name="down" />
        </>
      }
    >
      {(close) =>
        TENANTS.map(([id, name, what]) => (
          <button
            key={id}
            type="button"
            class="menu-item"
            aria-checked={id === tenant.value}
            role="menuitemradio"
            onClick={() => (close(), patch({ tenant: id, service: "" }))}
          >
            {name}
            <span class="hint faint">{what}</span>
          </button>
        ))
      }
    </Popover>
  );
}

function ServiceChip() {
  return (
    <Popover
      title="Service scope"
      buttonClass={`scope ${service.value ? "on" : ""}`}
      label={
        <>
          <span class="key">service</span>
          <span class="clip">{service.value || "all"}</span>
          <Icon name="down" />
        </>
      }
    >
      {(close) => <ServiceList close={close} />}
    </Popover>
  );
}

function RefreshControl() {
  const every = refreshEvery.value;
  return (
    <span class="row" style="gap:0">
      <button type="button" class="btn icon-only" title="Refresh  r" aria-label="Refresh" style="border-radius:4px 0 0 4px" onClick={refresh}>
        <Icon name="refresh" />
      </button>
      <Popover
        right
        title="Refresh period"
        buttonClass="refresh-every"
        label={
          <>
            <span>{every > 0 ? refreshChoice.value : "off"}</span>
            <Icon name="down" />
          </>
        }
      >
        {(close) =>
          REFRESH_CHOICES.map((c) => (
            <button
              key={c}
              type="button"
              role="menuitemradio"
              class="menu-item"
              aria-checked={c === refreshChoice.value}
              onClick={() => (close(), patch({ refresh: c }))}
            >
              {c === "off" ? "Off" : `Every ${c}`}
            </button>
          ))
        }
      </Popover>
    </span>
  );
}

const THEMES: readonly [Theme, IconName, string][] = [
  ["system", "monitor", "As the system"],
  ["dark", "moon", "Dark"],
  ["light", "sun", "Light"],
];

function ThemeControl() {
  const icon = THEMES.find(([t]) => t === theme.value)?.[1] ?? "monitor";
  return (
    <Popover right title="Theme" buttonClass="quiet icon-only optional" label={<Icon name={icon} />}>
      {(close) =>
        THEMES.map(([t, name, text]) => (
          <button
            key={t}
            type="button"
            role="menuitemradio"
            class="menu-item"
            aria-checked={t === theme.value}
            onClick={() => ((theme.value = t), close())}
          >
            <Icon name={name} />
            {text}
          </button>
        ))
      }
    </Popover>
  );
}

/** The bar. */
export function TopBar() {
  return (
    <header class="topbar">
      <button type="button" class="btn command-button" aria-label="Command bar" title="Command bar  Ctrl K" onClick={() => (commandOpen.value = true)}>
        <Icon name="search" />
        <span class="clip">Search or jump to…</span>
        <kbd>Ctrl K</kbd>
      </button>
      <span class="spacer" />
      <TenantChip />
      <ServiceChip />
      <RangePicker />
      <button
        type="button"
        class="btn quiet optional"
        title="Switch between local time and UTC"
        onClick={() => patch({ tz: zone.value === "utc" ? "" : "utc" })}
      >
        {zone.value === "utc" ? "UTC" : "Local"}
      </button>
      <RefreshControl />
      <ThemeControl />
      <button type="button" class="btn quiet icon-only optional" title="Keys and gestures  ?" aria-label="Keys and gestures" onClick={() => (helpOpen.value = true)}>
        <Icon name="help" />
      </button>
    </header>
  );
}
