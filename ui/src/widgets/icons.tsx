/** The icon set: 16 px strokes in the text's colour, hidden from assistive technology (words stand beside them). */

const PATHS = {
  home: "M2.5 7.2 8 2.8l5.5 4.4v6.3h-3.7V9.6H6.2v3.9H2.5z",
  metrics: "M2.5 2.5v11h11M5 10.2l2.6-3.4 2.2 1.8 3.4-4.6",
  logs: "M2.5 4h11M2.5 8h8M2.5 12h9.5",
  traces: "M2.5 3.5h7M5.5 8h7M8.5 12.5h5",
  search: "M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM10.4 10.4l3.1 3.1",
  clock: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 4.8V8l2.2 1.6",
  refresh: "M13.2 6.2A5.5 5.5 0 0 0 3.1 5.4M2.8 9.8a5.5 5.5 0 0 0 10.1.8M13.4 2.8v3.4H10M2.6 13.2V9.8H6",
  sun: "M8 10.8a2.8 2.8 0 1 0 0-5.6 2.8 2.8 0 0 0 0 5.6zM8 1.6v1.2M8 13.2v1.2M1.6 8h1.2M13.2 8h1.2M3.5 3.5l.8.8M11.7 11.7l.8.8M3.5 12.5l.8-.8M11.7 4.3l.8-.8",
  moon: "M13.3 9.6A5.6 5.6 0 0 1 6.4 2.7a5.6 5.6 0 1 0 6.9 6.9z",
  monitor: "M2 3h12v8H2zM6 13.5h4",
  help: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM6.3 6.3a1.8 1.8 0 1 1 2.6 1.6c-.6.3-.9.7-.9 1.3M8 11.4v.1",
  close: "M4 4l8 8M12 4l-8 8",
  check: "M3 8.4l3.2 3.2L13 4.8",
  cross: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM5.8 5.8l4.4 4.4M10.2 5.8l-4.4 4.4",
  warn: "M8 2.6 14 13H2zM8 6.6v2.8M8 11.2v.1",
  none: "M8 13.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11z",
  down: "M4 6l4 4 4-4",
  right: "M6 4l4 4-4 4",
  left: "M10 4L6 8l4 4",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  filter: "M2.5 3.5h11L9.3 8.6v4.6l-2.6-1.4V8.6z",
  play: "M4.5 3l8 5-8 5z",
  pause: "M5 3v10M11 3v10",
  link: "M6.5 9.5l3-3M7.5 4.8l1.3-1.3a2.8 2.8 0 0 1 4 4l-1.4 1.3M8.5 11.2l-1.3 1.3a2.8 2.8 0 0 1-4-4l1.4-1.3",
  table: "M2.5 3h11v10h-11zM2.5 6.4h11M2.5 9.7h11M6.5 3v10",
} as const;

/** Name of an icon. */
export type IconName = keyof typeof PATHS;

/** One icon. */
export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
