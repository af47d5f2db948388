/** The waterfall: names as a tree grid in the document, bars on a canvas over it, the whole trace as a strip on top. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { drawMini, drawRows, drawRuler, ROW, type Window } from "../chart/waterfall.ts";
import { px, useWidth } from "../load.ts";
import { cssColor } from "../palette.ts";
import { scheme } from "../state.ts";
import { criticalPath, visibleRows, type Node, type Stretch, type Tree } from "../trace.ts";
import { seconds } from "../units.ts";
import { SafeText } from "../widgets/basics.tsx";
import { Icon } from "../widgets/icons.tsx";

const OVERSCAN = 6;
const MINI_HEIGHT = 44;
const RULER_HEIGHT = 26;
const INDENT = 14;

/** Indentation stops growing here, or deep traces would leave no room for names. */
const INDENT_DEPTH_MAX = 16;
const CLICK_PX = 4;

interface Props {
  tree: Tree;
  collapsed: ReadonlySet<string>;
  selected: string;
  /** CSS variable of a service's colour. */
  colorVar: (service: string) => string;
  fits: (n: Node) => boolean;
  onSelect: (spanId: string) => void;
  onToggle: (spanId: string) => void;
}

/** The waterfall. */
export function Waterfall(props: Props) {
  const { tree } = props;
  const [root, width] = useWidth<HTMLDivElement>();
  const [window, setWindow] = useState<Window>({ from: 0, to: tree.duration });
  useEffect(() => setWindow({ from: 0, to: tree.duration }), [tree]);
  const names = Math.round(Math.max(132, Math.min(420, width * 0.36)));
  const zoomed = window.from > 0 || window.to < tree.duration;
  return (
    <section class="panel waterfall grow" ref={root} style={{ "--names": px(names) }} aria-label="Spans">
      <div class="wf-head">
        <div class="cols row">
          <span class="grow">service and operation</span>
          {zoomed && (
            <button type="button" class="chip" onClick={() => setWindow({ from: 0, to: tree.duration })}>
              whole trace
            </button>
          )}
        </div>
        {width > 0 && <Strip tree={tree} width={width - names - 2} window={window} onWindow={setWindow} colorVar={props.colorVar} />}
      </div>
      {width > 0 && <Rows {...props} width={width - names - 2} names={names} window={window} />}
    </section>
  );
}

function Strip(p: { tree: Tree; width: number; window: Window; onWindow: (w: Window) => void; colorVar: (s: string) => string }) {
  const mini = useRef<HTMLCanvasElement>(null);
  const ruler = useRef<HTMLCanvasElement>(null);
  const drag = useRef<number | null>(null);
  const [draft, setDraft] = useState<Window | null>(null);
  const shown = draft ?? p.window;
  useEffect(() => {
    if (mini.current) drawMini(mini.current, p.width, MINI_HEIGHT, p.tree, shown, (s) => cssColor(p.colorVar(s)));
    if (ruler.current) drawRuler(ruler.current, p.width, RULER_HEIGHT, p.window);
  }, [p.tree, p.width, shown.from, shown.to, p.window, scheme.value]);
  const at = (e: PointerEvent): number => {
    const r = (e.currentTarget as Element).getBoundingClientRect();
    return (Math.min(r.width, Math.max(0, e.clientX - r.left)) / r.width) * p.tree.duration;
  };
  const between = (a: number, b: number): Window => ({ from: Math.min(a, b), to: Math.max(a, b) });
  return (
    <div>
      <div
        class="wf-mini"
        title="Drag to zoom, double click for the whole trace"
        onPointerDown={(e) => {
          e.currentTarget.setPointerCapture(e.pointerId);
          drag.current = at(e);
        }}
        onPointerMove={(e) => drag.current !== null && setDraft(between(drag.current, at(e)))}
        onPointerUp={(e) => {
          const w = drag.current === null ? null : between(drag.current, at(e));
          drag.current = null;
          setDraft(null);
          if (w && ((w.to - w.from) / p.tree.duration) * p.width >= CLICK_PX) p.onWindow(w);
        }}
        onDblClick={() => p.onWindow({ from: 0, to: p.tree.duration })}
      >
        <canvas ref={mini} role="img" aria-label="Overview of the trace" />
      </div>
      <canvas ref={ruler} aria-hidden="true" />
    </div>
  );
}

function Rows(props: Props & { width: number; names: number; window: Window }) {
  const { tree, collapsed, selected, width, window } = props;
  const scroll = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [view, setView] = useState({ top: 0, height: 400 });
  const rows = useMemo(() => visibleRows(tree.nodes, collapsed), [tree, collapsed]);
  const critical = useMemo(() => groupByNode(criticalPath(tree)), [tree]);
  useEffect(() => {
    const e = scroll.current;
    if (!e) return;
    const measure = (): void => setView({ top: e.scrollTop, height: e.clientHeight });
    const observer = new ResizeObserver(measure);
    observer.observe(e);
    measure();
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    const i = rows.findIndex((r) => tree.nodes[r]?.span.spanID === selected);
    const e = scroll.current;
    if (!e || i < 0) return;
    if (i * ROW < e.scrollTop || (i + 1) * ROW > e.scrollTop + e.clientHeight) e.scrollTop = i * ROW - e.clientHeight / 2;
  }, [selected, rows]);
  const first = Math.max(0, Math.floor(view.top / ROW) - OVERSCAN);
  const shown = rows.slice(first, first + Math.ceil(view.height / ROW) + 2 * OVERSCAN);
  useEffect(() => {
    if (!canvas.current) return;
    const color = (s: string): string => cssColor(props.colorVar(s));
    drawRows(canvas.current, width, view.height, { tree, rows: shown, top: first * ROW - view.top, window, color, critical });
  }, [tree, rows, first, view.top, view.height, width, window, scheme.value]);
  return (
    <div
      class="wf-scroll"
      ref={scroll}
      role="treegrid"
      aria-label="Spans as a tree"
      aria-rowcount={rows.length}
      tabIndex={0}
      onScroll={(e) => setView({ top: e.currentTarget.scrollTop, height: e.currentTarget.clientHeight })}
    >
      <div class="wf-canvas" role="presentation" style={{ marginLeft: px(props.names) }}>
        <canvas ref={canvas} aria-hidden="true" />
      </div>
      <div role="rowgroup" style={{ height: px(rows.length * ROW), position: "relative" }}>
        {shown.map((index, i) => {
          const node = tree.nodes[index];
          return node && <Row key={node.span.spanID} node={node} index={first + i} {...props} />;
        })}
      </div>
    </div>
  );
}

function groupByNode(path: readonly Stretch[]): Map<number, Stretch[]> {
  const out = new Map<number, Stretch[]>();
  for (const s of path) {
    const known = out.get(s.node);
    if (known) known.push(s);
    else out.set(s.node, [s]);
  }
  return out;
}

function Row(p: Props & { node: Node; index: number }) {
  const { node } = p;
  const id = node.span.spanID;
  const folded = p.collapsed.has(id);
  return (
    <div
      class={`wf-row ${p.fits(node) ? "" : "dimmed"}`}
      role="row"
      aria-level={node.depth + 1}
      aria-expanded={node.size > 0 ? !folded : undefined}
      aria-selected={p.selected === id}
      style={{ top: px(p.index * ROW) }}
      onClick={() => p.onSelect(id)}
    >
      <div class="wf-name" role="gridcell" style={{ "--c": `var(${p.colorVar(node.service)})`, paddingLeft: px(Math.min(node.depth, INDENT_DEPTH_MAX) * INDENT) }}>
        {node.size > 0 ? (
          <button
            type="button"
            tabIndex={-1}
            aria-label={folded ? `Show ${node.size} spans below` : "Hide the spans below"}
            onClick={(e) => {
              e.stopPropagation();
              p.onToggle(id);
            }}
          >
            <Icon name={folded ? "right" : "down"} />
          </button>
        ) : (
          <span class="gap" />
        )}
        {node.error && <Icon name="cross" />}
        <span class="clip">
          <SafeText text={node.span.operationName} />{" "}
          <span class="svc">
            <SafeText text={node.service} />
          </span>
        </span>
        {folded && <span class="chip">+{node.size}</span>}
        {node.orphan && (
          <span class="chip" title="The parent span is not in this trace (yet)">
            no parent
          </span>
        )}
      </div>
      <span role="gridcell" class="visually-hidden">
        {seconds(node.duration / 1e6)} {node.error ? "failed" : ""}
      </span>
    </div>
  );
}
