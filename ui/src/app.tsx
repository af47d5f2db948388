/** Entry point: starts router, keys and shared state, draws the frame and the page of the current address. */
import "./core.ts";
import { signal } from "@preact/signals";
import { render, type ComponentType } from "preact";
import { useEffect } from "preact/hooks";
import { startKeys, useKeys } from "./keys.ts";
import { pageOf, PAGES, type Page } from "./pages.ts";
import { go, link, place, startRouter } from "./router.ts";
import { commandOpen, helpOpen } from "./shell/open.ts";
import { TopBar } from "./shell/topbar.tsx";
import { range, refresh, setRange, startState, tenant } from "./state.ts";
import { shiftRange, zoomOut } from "./time.ts";
import { Empty, Failure } from "./widgets/basics.tsx";
import { Icon } from "./widgets/icons.tsx";
import { lazy } from "./widgets/lazy.tsx";

const Command = lazy(() => import("./shell/command.tsx").then((m) => m.Command));
const Help = lazy(() => import("./shell/help.tsx").then((m) => m.Help));

type Loaded = { page: Page; view: ComponentType } | { page: Page; error: Error };
const loaded = signal<Loaded | null>(null);

const styles = new Map<string, Promise<void>>();

/** Adds a stylesheet named in index.html, once; resolves when it is in force. */
function loadStyle(name: string | undefined): Promise<void> {
  if (!name) return Promise.resolve();
  const known = styles.get(name) ?? addStyle(name);
  styles.set(name, known);
  return known;
}

function addStyle(name: string): Promise<void> {
  const sheet = document.createElement("link");
  sheet.rel = "stylesheet";
  sheet.href = document.querySelector<HTMLMetaElement>(`meta[name="style-${name}"]`)?.content ?? "";
  document.head.append(sheet);
  return new Promise((done, fail) => {
    sheet.onload = () => done();
    sheet.onerror = () => fail(new Error("the page's style could not be loaded; reload the page"));
  });
}

function loadPage(page: Page): void {
  Promise.all([page.load(), loadStyle(page.style)]).then(
    ([module]) => (loaded.value = { page, view: module.default }),
    (e: unknown) => (loaded.value = { page, error: e instanceof Error ? e : new Error(String(e)) }),
  );
}

function View() {
  const page = pageOf(place.value.path);
  useEffect(() => {
    if (page) loadPage(page);
    document.title = page ? `${page.name} · Kenning` : "Kenning";
  }, [page]);
  if (!page) {
    return (
      <Empty title="There is no such page">
        <a href={link("")}>Go to Home</a>
      </Empty>
    );
  }
  const now = loaded.value;
  if (!now || now.page !== page) return <div class="state" aria-busy="true" />;
  if ("error" in now) return <Failure error={now.error} retry={() => loadPage(page)} />;
  // Another tenant is another world: nothing of the old one may stay on screen.
  return <now.view key={`${page.path} ${tenant.value}`} />;
}

function Nav() {
  const current = pageOf(place.value.path)?.path;
  return (
    <nav class="side" aria-label="Places">
      {PAGES.filter((p) => !p.hidden).map((p) => {
        const on = p.path === current || (p.path === "traces" && current === "trace");
        return (
          <a key={p.path} href={link(p.path)} aria-current={on ? "page" : undefined} aria-label={p.name} title={p.question}>
            <Icon name={p.icon} />
            <span>{p.name}</span>
            <span class="keys" aria-hidden="true">
              g {p.key}
            </span>
          </a>
        );
      })}
    </nav>
  );
}

function Brand() {
  return (
    <a class="brand" href={link("")} aria-label="Kenning, home">
      <svg viewBox="0 0 20 20" aria-hidden="true">
        <rect x="1" y="1" width="18" height="18" rx="4" fill="var(--accent)" />
        <path d="M6 5v10M14 5 6.4 10.6M9.2 8.6 14 15" fill="none" stroke="var(--accent-text)" stroke-width="2" stroke-linecap="round" />
      </svg>
      <span>Kenning</span>
    </a>
  );
}

function useGlobalKeys(): void {
  const shift = (by: number): void => setRange(shiftRange(range.value, by));
  const pages = Object.fromEntries(PAGES.filter((p) => p.key).map((p) => [`g ${p.key}`, () => go(link(p.path))]));
  useKeys({
    ...pages,
    "t ArrowLeft": () => shift(-0.5),
    "t ArrowRight": () => shift(0.5),
    "t z": () => setRange(zoomOut(range.value)),
    z: () => setRange(zoomOut(range.value)),
    r: () => refresh(),
    "?": () => void (helpOpen.value = true),
    "/": () => void (commandOpen.value = true),
    "Ctrl+k": () => void (commandOpen.value = true),
  });
}

function App() {
  useGlobalKeys();
  return (
    <>
      <a class="skip btn" href="#main" onClick={(e) => (e.preventDefault(), document.getElementById("main")?.focus())}>
        Skip to content
      </a>
      <div class="shell">
        <Brand />
        <TopBar />
        <Nav />
        <main id="main" tabIndex={-1}>
          <View />
        </main>
      </div>
      {commandOpen.value && <Command />}
      {helpOpen.value && <Help />}
    </>
  );
}

startRouter();
startKeys();
startState();
// The bar must be there when the keys are hit: what is typed before it is would be lost.
window.setTimeout(() => void import("./shell/command.tsx"), 1500);
const root = document.getElementById("app");
if (root) render(<App />, root);
