/** One log line with everything known about it and the ways on from it. */
import "../core.ts";
import type { LogLine } from "../api_logs.ts";
import { jsonTokens, prettyJson } from "../json_text.ts";
import { serviceMetrics, traceLink, traceLogs } from "../links.ts";
import { fieldsOf, idOf, isStack, own, PARSED_LENGTH_MAX, readLine, type LineField } from "../logline.ts";
import { param, patch } from "../router.ts";
import { zone } from "../state.ts";
import { dateTime, type Range } from "../time.ts";
import { integer } from "../units.ts";
import { Copy, SafeText, Segments, Status } from "../widgets/basics.tsx";
import { Fields, Peek, type Field } from "../widgets/peek.tsx";
import { LineContext } from "./logs_context.tsx";
import { CopyMenu, lineItems, lineJson } from "./logs_copy.tsx";
import type { OnFilter } from "./logs_parts.ts";
import { cut, LongText } from "./logs_text.tsx";

/** More of a JSON text is not coloured: every token is an element. */
const COLOURED_CHARS = 20_000;

interface Props {
  line: LogLine;
  serviceLabel: string;
  r: Range;
  onClose: () => void;
  onStep: (by: 1 | -1) => void;
  onFilter: OnFilter;
  columns: readonly string[];
  onColumn: (name: string) => void;
}

const STATUS = { fatal: "error", error: "error", warn: "warn", info: "none", debug: "none", trace: "none", other: "none" } as const;

type Tab = "fields" | "json" | "context";

const GROUPS: readonly (readonly [string, (f: LineField, line: LogLine) => boolean])[] = [
  ["Labels", (f) => f.source === "stream"],
  ["Metadata", (f, l) => f.source === "meta" && own(l.parsed, f.name) === undefined],
  ["Parsed by the query", (f, l) => f.source === "meta" && own(l.parsed, f.name) !== undefined],
  ["Fields of the line", (f) => f.source === "json" || f.source === "logfmt"],
];

function FieldGroups({ line, onFilter, columns, onColumn }: Pick<Props, "line" | "onFilter" | "columns" | "onColumn">) {
  const { spanId } = readLine(line);
  const all = fieldsOf(line).filter((f) => !isStack(f.name, f.value));
  const row = (f: LineField): Field => ({ name: f.name, value: f.value, href: /^trace_?id$/i.test(f.name) && idOf(f.value) ? traceLink(f.value, spanId) : undefined });
  return (
    <>
      {GROUPS.map(([title, mine]) => {
        const fields = all.filter((f) => mine(f, line));
        if (fields.length === 0) return null;
        const found = (f: Field): LineField | undefined => fields.find((x) => x.name === f.name);
        return (
          <section key={title}>
            <h3>{title}</h3>
            <Fields
              fields={fields.map(row)}
              onFilter={(f, op) => {
                const x = found(f);
                if (x) onFilter(x.label, op, x.value, x.source);
              }}
              onColumn={onColumn}
              columns={columns}
            />
          </section>
        );
      })}
    </>
  );
}

function JsonText({ line }: { line: LogLine }) {
  const own = readLine(line).format === "json";
  const text = prettyJson(own ? line.line : lineJson(line));
  const head = cut(text, COLOURED_CHARS);
  return (
    <section>
      <h3 class="row">
        <span class="grow">{own ? "The line" : "The line with its labels"}</span>
        <Copy text={text} title="Copy JSON" />
      </h3>
      <pre class="json" tabIndex={0}>
        {jsonTokens(head).map((t, i) => (
          <span key={i} class={`t-${t.kind}`}>
            {t.kind === "op" ? t.text : <SafeText text={t.text} />}
          </span>
        ))}
        {text.length > head.length && <LongText text={text.slice(head.length)} max={0} />}
      </pre>
    </section>
  );
}

function Ways({ line, serviceLabel }: { line: LogLine; serviceLabel: string }) {
  const read = readLine(line);
  const traceRange = { from: line.ms - 60_000, to: line.ms + 60_000 };
  return (
    <div class="linkbar">
      {read.traceId && (
        <a class="btn small primary" href={traceLink(read.traceId, read.spanId)}>
          Trace
        </a>
      )}
      {read.traceId && (
        <a class="btn small" href={traceLogs(traceRange, serviceLabel, [], read.traceId)}>
          Logs of this trace
        </a>
      )}
      {read.service && (
        <a class="btn small" href={serviceMetrics(line.ms, read.service)}>
          Metrics at this moment
        </a>
      )}
    </div>
  );
}

/** The panel. */
export function LinePeek(p: Props) {
  const { line } = p;
  const r = readLine(line);
  const tab = (["json", "context"].includes(param("detail")) ? param("detail") : "fields") as Tab;
  return (
    <Peek title={<span class="mono">{dateTime(line.ms, zone.value, true)}</span>} label="Log line" onClose={p.onClose} onStep={p.onStep}>
      <section>
        <div class="row wrap" style="margin-bottom:6px">
          <Status kind={STATUS[r.level]}>{r.level}</Status>
          <span class="dim">
            <SafeText text={r.service} />
          </span>
          <span class="grow" />
          <span class="mono faint" title="Nanoseconds since 1970">
            {line.ns}
          </span>
          <CopyMenu right items={lineItems(line, p.r)} title="Copy this line" />
        </div>
        <div class="mono message">
          <LongText key={line.ns} text={r.message} />
        </div>
      </section>
      <section>
        <Ways line={line} serviceLabel={p.serviceLabel} />
      </section>
      <section class="tabs">
        <Segments<Tab>
          label="Show"
          value={tab}
          options={[
            ["fields", "Fields"],
            ["json", "JSON"],
            ["context", "Context"],
          ]}
          onChange={(t) => patch({ detail: t === "fields" ? "" : t }, true)}
        />
      </section>
      {tab === "json" && <JsonText line={line} />}
      {tab === "context" && <LineContext line={line} />}
      {tab === "fields" && r.stacks.map((s) => (
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
      {tab === "fields" && line.line.length > PARSED_LENGTH_MAX && (
        <section class="faint">
          The line has {integer(line.line.length)} characters. Fields are read out of lines of up to {integer(PARSED_LENGTH_MAX)}; a parser in the query, such as <code style="white-space:nowrap">| json</code>, takes longer ones apart.
        </section>
      )}
      {tab === "fields" && <FieldGroups line={line} onFilter={p.onFilter} columns={p.columns} onColumn={p.onColumn} />}
    </Peek>
  );
}
