/** The places of the interface: one entry adds a page to the navigation, the keys, the command bar and the router. */
import type { ComponentType } from "preact";
import type { IconName } from "./widgets/icons.tsx";

/** A place: its path's first segment, its name, the key after `g`, and how to load it. */
export interface Page {
  path: string;
  name: string;
  key: string;
  icon: IconName;
  /** What the page answers; shown in the command bar. */
  question: string;
  load: () => Promise<{ default: ComponentType }>;
  /** Stylesheet beyond the common one, by the name it has in index.html. */
  style?: "home" | "signals" | "metrics";
  /** Reached by links only, not listed. */
  hidden?: boolean;
}

/** All pages in the order of the navigation. */
export const PAGES: readonly Page[] = [
  {
    path: "",
    name: "Home",
    key: "h",
    icon: "home",
    question: "Is anything wrong now?",
    load: () => import("./pages/home.tsx"),
    style: "home",
  },
  {
    path: "metrics",
    name: "Metrics",
    key: "m",
    icon: "metrics",
    question: "Browse metrics, run PromQL",
    load: () => import("./pages/metrics.tsx"),
    style: "metrics",
  },
  {
    path: "logs",
    name: "Logs",
    key: "l",
    icon: "logs",
    question: "Search log lines, run LogQL",
    load: () => import("./pages/logs.tsx"),
    style: "signals",
  },
  {
    path: "traces",
    name: "Traces",
    key: "t",
    icon: "traces",
    question: "Find traces by service, operation, tags, duration",
    load: () => import("./pages/traces.tsx"),
    style: "signals",
  },
  {
    path: "trace",
    name: "Trace",
    key: "",
    icon: "traces",
    question: "",
    load: () => import("./pages/trace.tsx"),
    style: "signals",
    hidden: true,
  },
];

/** The page a path belongs to. */
export function pageOf(path: string): Page | undefined {
  const first = path.split("/")[0] ?? "";
  return PAGES.find((p) => p.path === first);
}
