"""The public PromQL compliance queries, and data of our own making for the `demo_*` metrics that they ask about."""

import itertools
import json
import math
import random
import re
import struct

STEP = 10_000
HOUR = 3_600_000


def queries(corpus):
    """Every query of the corpus's compliance list with its variants spelt out: (text, must fail)."""
    values = json.loads((corpus / "promql/compliance/expand.json").read_text())
    text = (corpus / "promql/compliance/promql-test-queries.yml").read_text()
    for entry in re.split(r"^ *- (?=(?:#.*\n *)?query:)", text.split("test_cases:", 1)[1], flags=re.M)[1:]:
        query = unquote(re.search(r"query: (.*)", entry).group(1))
        arguments = re.findall(r"'(\w+)'", (re.search(r"variant_args: \[(.*)\]", entry) or ["", ""])[1])
        for chosen in itertools.product(*(values[name] for name in arguments)):
            spelt = query
            for name, value in zip(arguments, chosen):
                spelt = spelt.replace("{{.%s}}" % name, value)
            yield spelt, "should_fail: true" in entry


def unquote(scalar):
    scalar = scalar.strip()
    if scalar.startswith('"'):
        return json.loads(scalar)
    return scalar[1:-1].replace("''", "'") if scalar.startswith("'") else scalar


def data(base, hours=2.0, seed=1):
    """`demo_*` series of three instances: (labels, [(time in ms, value)]); one seed, one data set."""
    chance = random.Random(seed)
    steps = int(hours * HOUR / STEP)
    times = [base + k * STEP for k in range(steps)]
    for port in range(10000, 10003):
        target = {"instance": f"demo.promlabs.com:{port}", "job": "demo"}
        yield {"__name__": "demo_num_cpus", **target}, [(t, 4.0) for t in times]
        for kind in ("buffers", "cached", "free", "used"):
            level = chance.uniform(1e8, 4e9)
            walk = itertools.accumulate((chance.uniform(-1e7, 1e7) for _ in times), initial=level)
            yield {"__name__": "demo_memory_usage_bytes", "type": kind, **target}, list(zip(times, map(round, walk)))
        for mode in ("idle", "system", "user"):
            counter = counter_values(chance, steps, 8.0)
            yield {"__name__": "demo_cpu_usage_seconds_total", "mode": mode, **target}, list(zip(times, counter))
        disk = itertools.accumulate((chance.uniform(-1e5, 3e5) for _ in times), initial=2e9)
        yield {"__name__": "demo_disk_usage_bytes", **target}, list(zip(times, map(round, disk)))
        batch = [(t, (base + (t - base) // 300_000 * 300_000) / 1000) for t in times]
        yield {"__name__": "demo_batch_last_success_timestamp_seconds", **target}, batch
        yield {"__name__": "demo_intermittent_metric", **target}, [s for k, s in enumerate(batch) if k % 60 < 20]
        yield from latency(chance, times, target)


def counter_values(chance, steps, most):
    """A counter that is reset now and then."""
    value = chance.uniform(0, 1e4)
    for _ in range(steps):
        value = 0.0 if chance.random() < 0.003 else value + chance.uniform(0, most)
        yield value


def latency(chance, times, target):
    """A classic histogram per path."""
    bounds = [0.0001 * 1.5**k for k in range(12)]
    name = "demo_api_request_duration_seconds"
    for path in ("/api/bar", "/api/foo"):
        labels = {"method": "GET", "path": path, "status": "200", **target}
        counts, total, rows = [0] * (len(bounds) + 1), 0.0, []
        for _ in times:
            for _ in range(chance.randrange(4)):
                value = chance.expovariate(300)
                total += value
                for k, bound in enumerate([*bounds, math.inf]):
                    counts[k] += value <= bound
            rows.append((list(counts), total))
        for k, bound in enumerate([*bounds, math.inf]):
            le = "+Inf" if bound == math.inf else repr(bound)
            yield {"__name__": f"{name}_bucket", "le": le, **labels}, [(t, r[0][k]) for t, r in zip(times, rows)]
        yield {"__name__": f"{name}_count", **labels}, [(t, r[0][-1]) for t, r in zip(times, rows)]
        yield {"__name__": f"{name}_sum", **labels}, [(t, r[1]) for t, r in zip(times, rows)]


def write_request(series):
    """Remote write 1.0: the protobuf message in snappy's block format, its bytes as literals."""
    message = b"".join(field(1, time_series(labels, samples)) for labels, samples in series)
    chunks = (message[k:k + 65_536] for k in range(0, len(message), 65_536))
    literals = b"".join(b"\xf4" + struct.pack("<H", len(chunk) - 1) + chunk for chunk in chunks)
    return varint(len(message)) + literals


def time_series(labels, samples):
    pairs = (field(1, field(1, n.encode()) + field(2, v.encode())) for n, v in sorted(labels.items()))
    points = (field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + varint(time)) for time, value in samples)
    return b"".join([*pairs, *points])


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def alike(ours, theirs):
    """Whether two answers of the query API say the same; numbers may differ in the last digits."""
    if ours["resultType"] != theirs["resultType"]:
        return False
    if ours["resultType"] in ("scalar", "string"):
        return near(ours["result"], theirs["result"])
    mine, yours = by_labels(ours["result"]), by_labels(theirs["result"])
    return mine.keys() == yours.keys() and all(same_points(mine[key], yours[key]) for key in mine)


def by_labels(result):
    return {json.dumps(row["metric"], sort_keys=True): row.get("values") or [row["value"]] for row in result}


def same_points(one, other):
    return len(one) == len(other) and all(near(a, b) for a, b in zip(one, other))


def near(one, other):
    a, b = float(one[1]), float(other[1])
    same = a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
    return one[0] == other[0] and same
