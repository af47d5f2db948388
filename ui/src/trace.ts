/**
 * Traces as the pages need them: summaries for the list, a tree in drawing order for the waterfall, the critical path.
 * Spans come from outside: parents may be missing, ids doubled, references circular; none of that may loop or fail.
 */
import type { JaegerSpan, JaegerTrace, Tag } from "./api_traces.ts";

/** One row of the list of traces. Times in microseconds. */
export interface TraceSummary {
  id: string;
  service: string;
  operation: string;
  start: number;
  duration: number;
  spans: number;
  errors: number;
  /** Services by number of spans, most first. */
  services: [string, number][];
}

/** A span in the tree. Times in microseconds; `start` counts from the start of the trace. */
export interface Node {
  span: JaegerSpan;
  service: string;
  depth: number;
  /** Index of the parent among the nodes, -1 for a root. */
  parent: number;
  /** Number of descendants, which follow this node directly. */
  size: number;
  start: number;
  duration: number;
  error: boolean;
  /** The span names a parent that is not in the trace. */
  orphan: boolean;
}

/** A trace in drawing order: every node is followed by its descendants, siblings by start. */
export interface Tree {
  id: string;
  nodes: Node[];
  /** Start of the trace, microseconds since the epoch. */
  start: number;
  duration: number;
  services: string[];
  errors: number;
}

const tagValue = (tags: readonly Tag[] | undefined, key: string): unknown => tags?.find((t) => t.key === key)?.value;

/** Whether a span failed, in any of the spellings. */
export function isError(span: JaegerSpan): boolean {
  const error = tagValue(span.tags, "error");
  return error === true || error === "true" || tagValue(span.tags, "otel.status_code") === "ERROR";
}

/** Id of the parent in the same trace, "" for a root. Links to other traces are not parents. */
export function parentId(span: JaegerSpan): string {
  const ref = span.references?.find((r) => r.refType === "CHILD_OF" && r.traceID === span.traceID) ?? span.references?.find((r) => r.traceID === span.traceID);
  return ref?.spanID ?? "";
}

const serviceName = (t: JaegerTrace, s: JaegerSpan): string => t.processes[s.processID]?.serviceName ?? "unknown";

/** Start and end over all spans; spans may outlive their root. */
function extent(spans: readonly JaegerSpan[]): { start: number; end: number } {
  let [start, end] = [Infinity, -Infinity];
  for (const s of spans) {
    start = Math.min(start, s.startTime);
    end = Math.max(end, s.startTime + s.duration);
  }
  return spans.length > 0 ? { start, end } : { start: 0, end: 0 };
}

/** Summary of a trace; null when it has no span. */
export function summarizeTrace(t: JaegerTrace): TraceSummary | null {
  const ids = new Set(t.spans.map((s) => s.spanID));
  const roots = t.spans.filter((s) => !ids.has(parentId(s)));
  const root = (roots.length > 0 ? roots : t.spans).reduce<JaegerSpan | null>((a, s) => (a === null || s.startTime < a.startTime ? s : a), null);
  if (!root) return null;
  const { start, end } = extent(t.spans);
  const counts = new Map<string, number>();
  for (const s of t.spans) counts.set(serviceName(t, s), (counts.get(serviceName(t, s)) ?? 0) + 1);
  return {
    id: t.traceID,
    service: serviceName(t, root),
    operation: root.operationName,
    start,
    duration: end - start,
    spans: t.spans.length,
    errors: t.spans.filter(isError).length,
    services: [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)),
  };
}

/** Builds the tree. */
export function buildTree(t: JaegerTrace): Tree {
  const unique = [...new Map(t.spans.map((s) => [s.spanID, s])).values()];
  const { start, end } = extent(unique);
  const byId = new Map(unique.map((s) => [s.spanID, s]));
  const children = new Map<string, JaegerSpan[]>();
  for (const s of unique) {
    const up = byId.has(parentId(s)) && parentId(s) !== s.spanID ? parentId(s) : "";
    const siblings = children.get(up);
    if (siblings) siblings.push(s);
    else children.set(up, [s]);
  }
  const nodes: Node[] = [];
  const done = new Set<string>();
  place(t, children, children.get("") ?? [], nodes, done, start);
  // Circles have no root: each is entered at its earliest span.
  for (const s of [...unique].sort(byStart)) if (!done.has(s.spanID)) place(t, children, [s], nodes, done, start);
  for (let i = nodes.length - 1; i >= 0; i--) {
    const n = nodes[i];
    const up = n && n.parent >= 0 ? nodes[n.parent] : undefined;
    if (n && up) up.size += n.size + 1;
  }
  const services = [...new Set(nodes.map((n) => n.service))];
  return { id: t.traceID, nodes, start, duration: Math.max(1, end - start), services, errors: nodes.filter((n) => n.error).length };
}

const byStart = (a: JaegerSpan, b: JaegerSpan): number => a.startTime - b.startTime || b.duration - a.duration || (a.spanID < b.spanID ? -1 : 1);

/** Walks down from `roots` with a stack of its own: depth is whatever a client sent. */
function place(t: JaegerTrace, children: ReadonlyMap<string, JaegerSpan[]>, roots: readonly JaegerSpan[], nodes: Node[], done: Set<string>, zero: number): void {
  const stack = [...roots].sort(byStart).reverse().map((span) => ({ span, parent: -1, depth: 0 }));
  for (let top = stack.pop(); top; top = stack.pop()) {
    const { span, parent, depth } = top;
    if (done.has(span.spanID)) continue;
    done.add(span.spanID);
    const index = nodes.length;
    nodes.push({
      span,
      service: serviceName(t, span),
      depth,
      parent,
      size: 0,
      start: span.startTime - zero,
      duration: span.duration,
      error: isError(span),
      orphan: parent < 0 && parentId(span) !== "",
    });
    for (const c of [...(children.get(span.spanID) ?? [])].sort(byStart).reverse()) stack.push({ span: c, parent: index, depth: depth + 1 });
  }
}

/** A stretch of time in which a span alone held up the trace. Microseconds from the trace's start. */
export interface Stretch {
  node: number;
  from: number;
  to: number;
}

/**
 * The critical path of the first root: walking back from its end, always into the child that finished last. Shortening
 * any stretch of it would have shortened the trace. Children that outlive their parent count up to the parent's end.
 */
export function criticalPath(tree: Tree): Stretch[] {
  const kids = tree.nodes.map((): number[] => []);
  tree.nodes.forEach((n, i) => n.parent >= 0 && kids[n.parent]?.push(i));
  const endOf = (i: number): number => (tree.nodes[i]?.start ?? 0) + (tree.nodes[i]?.duration ?? 0);
  for (const list of kids) list.sort((a, b) => endOf(b) - endOf(a));
  const out: Stretch[] = [];
  const stack = tree.nodes.length > 0 ? [{ node: 0, next: 0, cursor: endOf(0) }] : [];
  for (let frame = stack.at(-1); frame; frame = stack.at(-1)) {
    const node = tree.nodes[frame.node];
    const child = kids[frame.node]?.[frame.next++];
    if (!node || child === undefined) {
      if (node && frame.cursor > node.start) out.push({ node: frame.node, from: node.start, to: frame.cursor });
      stack.pop();
      continue;
    }
    const from = Math.max(tree.nodes[child]?.start ?? 0, node.start);
    const to = Math.min(endOf(child), frame.cursor);
    if (from >= to) continue;
    if (frame.cursor > to) out.push({ node: frame.node, from: to, to: frame.cursor });
    frame.cursor = from;
    stack.push({ node: child, next: 0, cursor: to });
  }
  return out.sort((a, b) => a.from - b.from);
}

/** Indices of the nodes to draw when some are collapsed. */
export function visibleRows(nodes: readonly Node[], collapsed: ReadonlySet<string>): number[] {
  const out: number[] = [];
  for (let i = 0; i < nodes.length; i++) {
    const n = nodes[i];
    if (!n) break;
    out.push(i);
    if (collapsed.has(n.span.spanID)) i += n.size;
  }
  return out;
}

/** `error=true http.route="/events/{id}"` -> an object; null when something is not `key=value`. */
export function parseTags(text: string): Record<string, string> | null {
  const out: Record<string, string> = {};
  let rest = text.trim();
  while (rest !== "") {
    const m = /^([^\s=]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s"]*))(?:\s+|$)/.exec(rest);
    if (!m || m[1] === undefined) return null;
    out[m[1]] = m[2] === undefined ? (m[3] ?? "") : m[2].replaceAll(/\\(.)/g, "$1");
    rest = rest.slice(m[0].length);
  }
  return out;
}

/** Text of an attribute's value. */
export const tagText = (v: unknown): string => (typeof v === "string" ? v : (JSON.stringify(v) ?? ""));

/** An exception among a span's events. */
export interface Exception {
  type: string;
  message: string;
  stack: string;
}

/** Reads an event as an exception by OpenTelemetry's conventions; null when it is none. */
export function exceptionOf(fields: readonly Tag[]): Exception | null {
  const of = (key: string): string => tagText(tagValue(fields, key) ?? "");
  const found = { type: of("exception.type"), message: of("exception.message"), stack: of("exception.stacktrace") };
  return found.type || found.message || found.stack ? found : null;
}

/** Name of an event: Jaeger puts it into a field. */
export const eventName = (fields: readonly Tag[]): string => tagText(tagValue(fields, "event") ?? tagValue(fields, "name") ?? "event");
