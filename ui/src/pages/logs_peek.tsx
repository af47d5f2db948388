/** One log line with everything known about it and the ways on from it. */
import "../core.ts";
import type { LogLine } from "../api.ts";
import { serviceMetrics, traceLink, traceLogs } from "../links.ts";
import { isStack, readLine } from "../logline.ts";
import type { Labels } from "../palette.ts";
import { type FieldSource } from "../query/logql.ts";
import { matcher } from "../query/quote.ts";
import { link } from "../router.ts";
import { zone } from "../state.ts";
import { around, dateTime, iso } from "../time.ts";
import { Copy, SafeText, Status } from "../widgets/basics.tsx";
import { Fields, Peek, type Field } from "../widgets/peek.tsx";

const CONTEXT_MS = 60_000;

interface Props {
  line: LogLine;
  serviceLabel: string;
  onClose: () => void;
  onStep: (by: 1 | -1) => void;
  onFilter: (name: string, op: "=" | "!=", value: string, source: FieldSource) => void;
}

const STATUS = { fatal: "error", error: "error", warn: "warn", info: "none", debug: "none", trace: "none", other: "none" } as const;

/** What the service wrote around this line, unfiltered. */
function contextLink(line: LogLine, serviceLabel: string): string {
  const r = around(line.ms, CONTEXT_MS);
  const name = line.stream[serviceLabel];
  const q = name === undefined ? `{${serviceLabel}=~".+"}` : `{${matcher(serviceLabel, "=", name)}}`;
  return link("logs", { from: iso(r.from), to: iso(r.to), q, line: line.ns });
}

function Group(props: { title: string; values: Labels; source: FieldSource; onFilter: Props["onFilter"]; span: string }) {
  const fields: Field[] = Object.entries(props.values)
    .filter(([k, v]) => !isStack(k, v))
    .map(([name, value]) => ({ name, value, href: /^trace_?id$/i.test(name) && value ? traceLink(value, props.span) : undefined }));
  if (fields.length === 0) return null;
  return (
    <section>
      <h3>{props.title}</h3>
      <Fields fields={fields} onFilter={(f, op) => props.onFilter(f.name, op, f.value, props.source)} />
    </section>
  );
}

/** The panel. */
export function LinePeek({ line, serviceLabel, onClose, onStep, onFilter }: Props) {
  const r = readLine(line);
  const traceRange = { from: line.ms - 60_000, to: line.ms + 60_000 };
  return (
    <Peek title={<span class="mono">{dateTime(line.ms, zone.value, true)}</span>} label="Log line" onClose={onClose} onStep={onStep}>
      <section>
        <div class="row wrap" style="margin-bottom:6px">
          <Status kind={STATUS[r.level]}>{r.level}</Status>
          <span class="dim">
            <SafeText text={r.service} />
          </span>
          <span class="grow" />
          <Copy text={line.line} label="Copy line" />
        </div>
        <div class="mono" style="white-space:pre-wrap;overflow-wrap:anywhere">
          <SafeText text={r.message} />
        </div>
      </section>
      <section>
        <div class="linkbar">
          {r.traceId && (
            <a class="btn small primary" href={traceLink(r.traceId, r.spanId)}>
              Trace
            </a>
          )}
          {r.traceId && (
            <a class="btn small" href={traceLogs(traceRange, serviceLabel, [], r.traceId)}>
              Logs of this trace
            </a>
          )}
          <a class="btn small" href={contextLink(line, serviceLabel)}>
            Context
          </a>
          {r.service && (
            <a class="btn small" href={serviceMetrics(line.ms, r.service)}>
              Metrics at this moment
            </a>
          )}
        </div>
      </section>
      {r.stacks.map((s) => (
        <section key={s.name}>
          <h3 class="row">
            <span class="grow">{s.name}</span>
            <Copy text={s.text} title="Copy stack trace" />
          </h3>
          <pre class="stack" tabIndex={0}>
            {s.text.split("\n").map((t, i) => (
              <div key={i}>
                <SafeText text={t || " "} />
              </div>
            ))}
          </pre>
        </section>
      ))}
      <Group title="Labels" values={line.stream} source="stream" onFilter={onFilter} span={r.spanId} />
      <Group title="Metadata" values={line.meta} source="meta" onFilter={onFilter} span={r.spanId} />
      <Group title="Fields of the line" values={r.json} source="json" onFilter={onFilter} span={r.spanId} />
      <Group title="Parsed" values={line.parsed} source="meta" onFilter={onFilter} span={r.spanId} />
    </Peek>
  );
}
