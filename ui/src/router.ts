/**
 * The URL is the state. One signal holds where we are; links are ordinary anchors; every committed state is one
 * history entry. All addresses are relative to <base>, so the interface works behind any path prefix.
 */
import { computed, signal } from "@preact/signals";

/** Where we are: path below the base (`metrics`, `trace/abc`) and query parameters. */
export interface Place {
  path: string;
  params: URLSearchParams;
}

/** New values for parameters; undefined or "" removes, an array repeats. */
export type Patch = Record<string, string | readonly string[] | undefined>;

/** Parameters that travel along to every page: time, zone, tenant, service scope, refresh. */
export const SHARED = ["from", "to", "tz", "tenant", "service", "refresh"] as const;

const basePath = new URL(document.baseURI).pathname;

function read(): Place {
  const path = window.location.pathname.startsWith(basePath) ? window.location.pathname.slice(basePath.length) : "";
  return { path: path.replace(/\/+$/, ""), params: new URLSearchParams(window.location.search) };
}

/** The current place. Changed only by `go` and the browser's history. */
export const place = signal<Place>(read());

/** One parameter of the current place, "" when absent. */
export const param = (name: string): string => place.value.params.get(name) ?? "";

/** All values of a repeated parameter. */
export const paramAll = (name: string): string[] => place.value.params.getAll(name);

/** Signal of one parameter, for code that must not re-run when others change. */
export const paramSignal = (name: string) => computed(() => place.value.params.get(name) ?? "");

function write(params: URLSearchParams, patch: Patch): URLSearchParams {
  const next = new URLSearchParams(params);
  for (const [name, value] of Object.entries(patch)) {
    next.delete(name);
    if (Array.isArray(value)) for (const v of value) next.append(name, v);
    else if (typeof value === "string" && value !== "") next.set(name, value);
  }
  return next;
}

function text(path: string, params: URLSearchParams): string {
  // Readable links: these characters are legal in a query string.
  const query = params.toString().replaceAll("%3A", ":").replaceAll("%2C", ",").replaceAll("%2F", "/");
  return (path || "./") + (query ? `?${query}` : "");
}

/** Address of a page that keeps the shared parameters and adds `patch`. */
export function link(path: string, patch: Patch = {}): string {
  const kept = new URLSearchParams();
  for (const name of SHARED) {
    const value = place.value.params.get(name);
    if (value) kept.set(name, value);
  }
  return text(path, write(kept, patch));
}

/** Address of this page with some parameters changed. */
export function here(patch: Patch): string {
  return text(place.value.path, write(place.value.params, patch));
}

/** Goes to an address made by `link` or `here`. `replace` for states that are not worth a step back. */
export function go(href: string, replace = false): void {
  const url = new URL(href, document.baseURI);
  if (url.href !== window.location.href) window.history[replace ? "replaceState" : "pushState"](null, "", url);
  place.value = read();
}

/** Changes parameters of this page. */
export const patch = (changes: Patch, replace = false): void => go(here(changes), replace);

function clicked(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const anchor = (event.target as Element | null)?.closest?.("a");
  if (!anchor || anchor.target || anchor.hasAttribute("download")) return;
  const url = new URL(anchor.href);
  if (url.origin !== window.location.origin || !url.pathname.startsWith(basePath) || url.hash) return;
  event.preventDefault();
  go(url.href);
}

/** Starts listening to history and link clicks. Called once. */
export function startRouter(): void {
  window.addEventListener("popstate", () => (place.value = read()));
  document.addEventListener("click", clicked);
}
