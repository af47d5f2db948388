/**
 * Where the series are: metrics, labels and pairs of label and value with the most of them. A click narrows all three
 * lists; the path of clicks stands in the URL. What is near a limit is said, and by which metric.
 */
import "../core.ts";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { cardinality, type Cardinality, type Count } from "../api_metrics.ts";
import { useLoad } from "../load.ts";
import { pairMatcher } from "../query/filters.ts";
import { labelName } from "../query/promql.ts";
import { matcher } from "../query/quote.ts";
import { here, link, param, paramAll, patch } from "../router.ts";
import { range, tenant } from "../state.ts";
import { format, integer } from "../units.ts";
import { Empty, Loaded, SafeText, Segments, Status } from "../widgets/basics.tsx";
import { Icon } from "../widgets/icons.tsx";

const TOP_DEFAULT = "20";
const TOPS = ["20", "100", "500"] as const;

/** From this share of a limit on it is a warning. */
const NEAR = 0.8;

/** The page. */
export function Explorer() {
  const match = paramAll("match");
  const top = param("top") || TOP_DEFAULT;
  const r = range.value;
  const selector = match.length > 0 ? `{${match.join(",")}}` : "";
  // A minute's rounding: the lists are large and hardly move.
  const [start, end] = [Math.floor(r.from / 60_000) * 60, Math.ceil(r.to / 60_000) * 60];
  const load = useLoad(`${tenant.value} ${selector} ${start} ${end} ${top}`, (signal) => cardinality(selector, start, end, Number(top), signal), "cardinality");
  useEffect(() => {
    document.title = "Cardinality · Kenning";
  }, []);
  return (
    <>
      <div class="toolbar">
        <h1>Cardinality</h1>
        <a class="btn small" href={link("metrics")}>
          Browse metrics
        </a>
        <span class="grow" />
        <span class="faint">lines</span>
        <Segments label="Lines of each list" value={top} options={TOPS.map((t) => [t as string, t] as const)} onChange={(t) => patch({ top: t === TOP_DEFAULT ? "" : t })} />
      </div>
      {match.length > 0 && (
        <div class="toolbar">
          <span class="faint">series with</span>
          {match.map((m) => (
            <button key={m} type="button" class="chip mono" aria-pressed="true" title="Remove" onClick={() => patch({ match: match.filter((x) => x !== m) })}>
              <SafeText text={m} />
              <Icon name="close" />
            </button>
          ))}
          <a class="btn small" href={link("metrics", { q: `count(${selector})` })}>
            Draw their number
          </a>
        </div>
      )}
      <Loaded load={load}>{(d) => (d.series === 0 ? <Nothing narrowed={match.length > 0} /> : <Lists d={d} match={match} />)}</Loaded>
    </>
  );
}

function Nothing({ narrowed }: { narrowed: boolean }) {
  return (
    <Empty title="No series in this range">
      <p>{narrowed ? "Remove a filter, or widen the range." : "Widen the range, or send some metrics."}</p>
    </Empty>
  );
}

function Lists({ d, match }: { d: Cardinality; match: readonly string[] }) {
  const metric = d.metrics.length === 1 ? d.metrics[0]?.name : undefined;
  const narrow = (m: string): string => here({ match: [...new Set([...match, m])] });
  return (
    <>
      <Limits d={d} all={match.length === 0} />
      {d.warnings.map((w) => (
        <div key={w} class="notice">
          <Status kind="warn">incomplete</Status> <SafeText text={w} />
        </div>
      ))}
      <div class="tops">
        <Top title="Metrics" of={`${integer(d.metricCount)} metrics, by series`} rows={d.metrics} total={d.series} limit={d.limits.seriesPerMetric} href={(n) => narrow(matcher("__name__", "=", n))} extra={metric ? <a href={link("metrics", { metric })}>Show {metric}</a> : null} />
        <Top title="Labels" of={`${integer(d.labelCount)} labels, by values`} rows={d.labels} total={0} limit={null} href={(n) => narrow(`${labelName(n)}!=""`)} />
        <Top title="Label and value" of="by series" rows={d.pairs.filter((p) => !p.name.startsWith("__name__="))} total={d.series} limit={null} href={(n) => narrow(pairMatcher(n))} />
      </div>
    </>
  );
}

function Limits({ d, all }: { d: Cardinality; all: boolean }) {
  const { series: limit, seriesPerMetric } = d.limits;
  const share = limit && all ? d.series / limit : 0;
  const near = seriesPerMetric ? d.metrics.filter((m) => m.value >= seriesPerMetric * NEAR) : [];
  return (
    <div class="panel limits">
      <div>
        <strong>{integer(d.series)}</strong> series{all && limit ? ` of at most ${integer(limit)} active` : ""}
        {all && limit ? <meter min={0} max={1} low={NEAR} high={NEAR} optimum={0} value={Math.min(1, share)} aria-label="Share of the limit of active series" /> : null}
        {all && limit ? <span class="dim">{format(share, "ratio")}</span> : null}
      </div>
      {share >= NEAR ? (
        <Status kind={share >= 1 ? "error" : "warn"}>{share >= 1 ? "new series are refused" : "near the limit; beyond it new series are refused"}</Status>
      ) : (
        all && limit && <Status kind="ok">below the limit</Status>
      )}
      {near.map((m) => (
        <Status key={m.name} kind={m.value >= (seriesPerMetric ?? 0) ? "error" : "warn"}>
          {m.name} has {integer(m.value)} of {integer(seriesPerMetric)} series a metric may have
        </Status>
      ))}
    </div>
  );
}

interface TopProps {
  title: string;
  of: string;
  rows: readonly Count[];
  /** What shares are of; 0 shows none. */
  total: number;
  limit: number | null;
  href: (name: string) => string;
  extra?: ComponentChildren;
}

function Top({ title, of, rows, total, limit, href, extra }: TopProps) {
  const most = Math.max(1, ...rows.map((r) => r.value));
  return (
    <section class="panel top" aria-label={title}>
      <header>
        <h2>{title}</h2>
        <span class="faint grow">{of}</span>
        {extra}
      </header>
      <table class="data">
        <tbody>
          {rows.map((r) => (
            <tr key={r.name}>
              <td>
                <a class="mono bar-name" href={href(r.name)} title={r.name}>
                  <span class="bar" aria-hidden="true" style={{ width: `${(r.value / most) * 100}%` }} />
                  <span class="clip">
                    <SafeText text={r.name} />
                  </span>
                </a>
              </td>
              <td class={`num ${limit && r.value >= limit * NEAR ? "warn-text" : ""}`}>{integer(r.value)}</td>
              {total > 0 && <td class="num dim share">{format(r.value / total, "ratio", 2)}</td>}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
