/** Home: is anything wrong now? Services with their health, what comes in, what is stored; or how to begin. */
import "../core.ts";
import { home, type Home, type ServiceState } from "../api.ts";
import { useLoad } from "../load.ts";
import { link } from "../router.ts";
import { range, rangeText, tenant } from "../state.ts";
import { ago, dateTime, describeRange } from "../time.ts";
import { zone } from "../state.ts";
import { format, integer } from "../units.ts";
import { Loaded, SafeText, Snippet, Status } from "../widgets/basics.tsx";

/** Shares of failed requests that colour a row; the alert rules of the reference services use the same 5 %. */
const ERROR_RATIO_WARN = 0.01;
const ERROR_RATIO_BAD = 0.05;

/** A p95 above this is marked; the reference services alert at the same value. */
const P95_WARN_S = 1;

type Verdict = "ok" | "warn" | "error" | "none";

/** Judgement of one service from what is known, and the words for it. */
export function verdictOf(s: ServiceState): { kind: Verdict; word: string } {
  const failed = (s.health ?? []).filter((h) => !h.ok);
  if (s.up === false) return { kind: "error", word: "down" };
  if (failed.length > 0) return { kind: "error", word: "failing check" };
  if ((s.error_ratio ?? 0) >= ERROR_RATIO_BAD) return { kind: "error", word: "many errors" };
  if ((s.error_ratio ?? 0) >= ERROR_RATIO_WARN) return { kind: "warn", word: "some errors" };
  if ((s.p95_seconds ?? 0) >= P95_WARN_S) return { kind: "warn", word: "slow" };
  const known = s.up !== null || s.requests_per_second !== null || (s.health ?? []).length > 0;
  return known ? { kind: "ok", word: "healthy" } : { kind: "none", word: "no health data" };
}

const ORDER: Record<Verdict, number> = { error: 0, warn: 1, ok: 2, none: 3 };

function Headline({ data }: { data: Home }) {
  const verdicts = data.services.map(verdictOf);
  const bad = verdicts.filter((v) => v.kind === "error").length;
  const odd = verdicts.filter((v) => v.kind === "warn").length;
  const n = data.services.length;
  const kind = bad > 0 ? "error" : odd > 0 ? "warn" : "ok";
  const words =
    bad > 0 ? `${bad} of ${n} ${n === 1 ? "service needs" : "services need"} attention` : odd > 0 ? `${odd} of ${n} services look unusual` : `All ${n} services look healthy`;
  return (
    <div class="verdict">
      <Status kind={kind}>
        <h1>{words}</h1>
      </Status>
      <span class="dim">{describeRange(rangeText.value, Date.now(), zone.value).replace(/^Last/, "in the last")}</span>
    </div>
  );
}

function Checks({ s }: { s: ServiceState }) {
  if (!s.health || s.health.length === 0) return <span class="faint">–</span>;
  return (
    <span class="checks">
      {s.health.map((h) => (
        <Status key={h.check} kind={h.ok ? "ok" : "error"}>
          {h.check} {h.ok ? "" : "failing"}
        </Status>
      ))}
    </span>
  );
}

function Row({ s, now }: { s: ServiceState; now: number }) {
  const v = verdictOf(s);
  const to = { service: s.name };
  const errors = s.error_ratio ?? 0;
  const errorClass = errors >= ERROR_RATIO_BAD ? "error-text" : errors >= ERROR_RATIO_WARN ? "warn-text" : "";
  const slow = (s.p95_seconds ?? 0) >= P95_WARN_S;
  return (
    <tr>
      <td>
        <a class="service-link" href={link(s.sources.includes("metrics") || s.sources.length === 0 ? "metrics" : s.sources.includes("traces") ? "traces" : "logs", to)}>
          <SafeText text={s.name} />
        </a>
      </td>
      <td>
        <Status kind={v.kind}>{v.word}</Status>
      </td>
      <td class="num">{format(s.requests_per_second, "rate")}</td>
      <td class="num">
        {errors > 0 ? (
          <a class={errorClass} href={link("traces", { ...to, tags: "error=true" })} title="Failed traces">
            {format(s.error_ratio, "ratio")}
          </a>
        ) : (
          format(s.error_ratio, "ratio")
        )}
      </td>
      <td class={`num ${slow ? "warn-text" : ""}`}>{format(s.p95_seconds, "seconds")}</td>
      <td>
        <Checks s={s} />
      </td>
      <td>
        <span class="sources">
          {(["metrics", "logs", "traces"] as const).map((kind) =>
            s.sources.includes(kind) ? (
              <a key={kind} href={link(kind, to)}>
                {kind}
              </a>
            ) : (
              <span key={kind} class="faint" title={`sends no ${kind}`}>
                –
              </span>
            ),
          )}
        </span>
      </td>
      <td class="num dim" title={s.last_seen ? dateTime(s.last_seen * 1000, zone.value) : ""}>
        {s.last_seen === null ? "–" : ago(s.last_seen * 1000, now)}
      </td>
    </tr>
  );
}

function Services({ services }: { services: ServiceState[] }) {
  const now = Date.now();
  const sorted = [...services].sort((a, b) => ORDER[verdictOf(a).kind] - ORDER[verdictOf(b).kind] || (a.name < b.name ? -1 : 1));
  return (
    <section class="panel" aria-label="Services">
      <header>
        <h2>Services</h2>
      </header>
      <div class="table-wrap" tabIndex={0} role="region" aria-label="Services table">
        <table class="data services">
          <thead>
            <tr>
              <th>service</th>
              <th>state</th>
              <th class="num">requests</th>
              <th class="num">errors</th>
              <th class="num">p95</th>
              <th>health checks</th>
              <th>signals</th>
              <th class="num">last seen</th>
            </tr>
          </thead>
          <tbody>
            {sorted.map((s) => (
              <Row key={s.name} s={s} now={now} />
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

/** A number with its unit in a smaller voice. */
function Stat({ label, text }: { label: string; text: string }) {
  const m = /^(\S+) (.+)$/.exec(text);
  return (
    <div>
      <dt>{label}</dt>
      <dd>
        {m ? m[1] : text} {m && <small>{m[2]}</small>}
      </dd>
    </div>
  );
}

function Ingest({ data }: { data: Home }) {
  const { ingest, storage } = data;
  const rejected = ingest.rejected.filter((r) => r.count > 0);
  return (
    <>
      <dl class="stats" aria-label="Ingest and storage">
        <Stat label="Samples in" text={format(ingest.samples_per_second, "rate")} />
        <Stat label="Log records in" text={format(ingest.log_records_per_second, "rate")} />
        <Stat label="Spans in" text={format(ingest.spans_per_second, "rate")} />
        <Stat label="Active series" text={format(storage.active_series)} />
        <Stat label="On disk" text={format(storage.bytes_on_disk, "bytes")} />
        <Stat label="Running for" text={data.started_at === null ? "–" : ago(data.started_at * 1000, Date.now()).replace(" ago", "")} />
      </dl>
      <section class="panel" aria-label="Refused data">
        <header>
          <h2>Refused data</h2>
          {rejected.length === 0 ? <Status kind="ok">nothing was refused</Status> : <Status kind="warn">some data was refused</Status>}
        </header>
        {rejected.length > 0 && (
          <div class="table-wrap">
            <table class="data">
              <thead>
                <tr>
                  <th>signal</th>
                  <th>reason</th>
                  <th class="num">count</th>
                </tr>
              </thead>
              <tbody>
                {rejected.map((r) => (
                  <tr key={`${r.signal} ${r.reason}`}>
                    <td>{r.signal}</td>
                    <td class="mono">{r.reason}</td>
                    <td class="num">{integer(r.count)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </section>
    </>
  );
}

/** First steps with the right addresses in them: those this page came from. */
function Start() {
  const host = window.location.hostname;
  const origin = new URL("..", document.baseURI).href.replace(/\/$/, "");
  return (
    <div class="start">
      <h1>Nothing has arrived yet</h1>
      <p class="dim">Send something in one of these ways; this page shows it as soon as it is stored.</p>
      <section>
        <h2>OpenTelemetry: any SDK, by environment</h2>
        <Snippet text={`export OTEL_EXPORTER_OTLP_ENDPOINT=http://${host}:4318\nexport OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\nexport OTEL_SERVICE_NAME=my-service`} />
      </section>
      <section>
        <h2>Prometheus metrics: let Kenning scrape them (kenning.yaml)</h2>
        <Snippet text={`scrape_configs:\n  - job_name: my-service\n    static_configs:\n      - targets: ["${host}:8001"]`} />
      </section>
      <section>
        <h2>Logs: the Loki push API</h2>
        <Snippet
          text={`curl -H 'Content-Type: application/json' ${origin}/loki/api/v1/push --data-raw \\\n  '{"streams":[{"stream":{"service_name":"my-service","level":"info"},"values":[["'$(date +%s%N)'","hello"]]}]}'`}
        />
      </section>
      <section>
        <h2>Or a living example</h2>
        <Snippet text="kenning demo" />
      </section>
    </div>
  );
}

/** The page. */
export default function HomePage() {
  const r = range.value;
  const load = useLoad(`${tenant.value} ${r.from} ${r.to}`, (signal) => home(Math.floor(r.from / 1000), Math.ceil(r.to / 1000), signal));
  return (
    <div class="page">
      <Loaded load={load}>
        {(data) =>
          data.services.length === 0 ? (
            <Start />
          ) : (
            <>
              <Headline data={data} />
              <Services services={data.services} />
              <Ingest data={data} />
              {data.version && (
                <p class="faint">Kenning {data.version}</p>
              )}
            </>
          )
        }
      </Loaded>
    </div>
  );
}
