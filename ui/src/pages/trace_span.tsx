/** One span: its attributes, events, exceptions, and the ways to its logs and metrics. */
import "../core.ts";
import type { Tag } from "../api_traces.ts";
import { serviceLogs, serviceMetrics, traceLink, traceLogs } from "../links.ts";
import { link } from "../router.ts";
import { zone } from "../state.ts";
import { clock } from "../time.ts";
import { eventName, exceptionOf, tagText, type Node, type Tree } from "../trace.ts";
import { seconds } from "../units.ts";
import { Copy, SafeText, Status } from "../widgets/basics.tsx";
import { Fields, Peek, type Field } from "../widgets/peek.tsx";

interface Props {
  tree: Tree;
  node: Node;
  processTags: readonly Tag[];
  serviceLabel: string;
  onClose: () => void;
  onStep: (by: 1 | -1) => void;
}

const toFields = (tags: readonly Tag[]): Field[] => tags.map((t) => ({ name: t.key, value: tagText(t.value) }));

/** "Only this value" of an attribute means: find other traces that have it. */
const tagSearch = (service: string, f: Field): string => link("traces", { service, tags: `${f.name}=${/[\s"]/.test(f.value) ? JSON.stringify(f.value) : f.value}` });

function Section({ title, tags, service }: { title: string; tags: readonly Tag[]; service: string }) {
  if (tags.length === 0) return null;
  const fields = toFields(tags);
  return (
    <section>
      <h3>{title}</h3>
      <Fields fields={fields} />
      {title === "Attributes" && service && (
        <details style="margin-top:6px">
          <summary class="faint" style="cursor:pointer">
            Find traces with the same…
          </summary>
          <div class="linkbar" style="margin-top:6px">
            {fields
              .filter((f) => f.value.length <= 80)
              .map((f) => (
                <a key={f.name} class="chip mono" href={tagSearch(service, f)}>
                  {f.name}
                </a>
              ))}
          </div>
        </details>
      )}
    </section>
  );
}

function Event({ at, fields, tree }: { at: number; fields: readonly Tag[]; tree: Tree }) {
  const exception = exceptionOf(fields);
  const rest = fields.filter((f) => !f.key.startsWith("exception.") && f.key !== "event" && f.key !== "name");
  return (
    <section>
      <h3 class="row">
        <span class="grow">
          {exception ? (
            <Status kind="error">
              <SafeText text={exception.type || "exception"} />
            </Status>
          ) : (
            <SafeText text={eventName(fields)} />
          )}
        </span>
        <span class="faint" style="font-weight:400">
          +{seconds((at - tree.start) / 1e6)}
        </span>
        {exception?.stack && <Copy text={exception.stack} title="Copy stack trace" />}
      </h3>
      {exception?.message && (
        <p class="mono" style="margin-bottom:6px">
          <SafeText text={exception.message} />
        </p>
      )}
      {exception?.stack && (
        <pre class="stack" tabIndex={0}>
          {exception.stack.split("\n").map((line, i) => (
            <div key={i}>
              <SafeText text={line || " "} />
            </div>
          ))}
        </pre>
      )}
      {rest.length > 0 && <Fields fields={toFields(rest)} />}
    </section>
  );
}

/** The panel. */
export function SpanPeek({ tree, node, processTags, serviceLabel, onClose, onStep }: Props) {
  const { span } = node;
  const startMs = span.startTime / 1000;
  const spanRange = { from: startMs, to: startMs + span.duration / 1000 };
  const other = (span.references ?? []).filter((r) => r.traceID !== span.traceID);
  const description = span.tags?.find((t) => t.key === "otel.status_description");
  return (
    <Peek title={<SafeText text={span.operationName} />} label="Span" onClose={onClose} onStep={onStep}>
      <section>
        <div class="row wrap" style="gap:4px 14px">
          {node.error ? <Status kind="error">failed</Status> : <Status kind="ok">ok</Status>}
          <span class="dim">
            <SafeText text={node.service} />
          </span>
          <span>{seconds(node.duration / 1e6)}</span>
          <span class="faint">
            {clock(startMs, zone.value, true)}, +{seconds(node.start / 1e6)}
          </span>
        </div>
        {description && (
          <p class="mono error-text" style="margin-top:6px">
            <SafeText text={tagText(description.value)} />
          </p>
        )}
      </section>
      <section>
        <div class="linkbar">
          <a class="btn small primary" href={traceLogs(spanRange, serviceLabel, [node.service], tree.id, span.spanID)}>
            Logs of this span
          </a>
          <a class="btn small" href={serviceLogs(spanRange, node.service)}>
            Logs of the service
          </a>
          <a class="btn small" href={serviceMetrics(startMs, node.service)}>
            Metrics at this moment
          </a>
          <a class="btn small" href={link("traces", { service: node.service, op: span.operationName })}>
            Same operation
          </a>
        </div>
      </section>
      {(span.logs ?? []).map((e, i) => (
        <Event key={i} at={e.timestamp} fields={e.fields} tree={tree} />
      ))}
      <Section title="Attributes" tags={span.tags ?? []} service={node.service} />
      <Section title="Process" tags={processTags} service="" />
      {other.length > 0 && (
        <section>
          <h3>Links</h3>
          <div class="linkbar">
            {other.map((r) => (
              <a key={r.spanID} class="chip mono" href={traceLink(r.traceID, r.spanID)}>
                {r.traceID.slice(0, 16)}
              </a>
            ))}
          </div>
        </section>
      )}
      <section>
        <h3>Identity</h3>
        <Fields
          fields={[
            { name: "trace_id", value: tree.id },
            { name: "span_id", value: span.spanID },
          ]}
        />
      </section>
      {(span.warnings ?? []).map((w) => (
        <div key={w} class="notice">
          {w}
        </div>
      ))}
    </Peek>
  );
}
