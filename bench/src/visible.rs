//! From a request's acknowledgement to its data in an answer.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::process::{Kenning, median};
use crate::{Failure, Row};

const WRITES: u32 = 200;
/// An item that takes longer counts as lost.
const WAIT_MAX: Duration = Duration::from_secs(5);

pub fn measure(binary: &Path) -> Result<Vec<Row>, Failure> {
    let server = Kenning::start(binary, None)?;
    let agent = ureq::Agent::new_with_defaults();
    let (mut written, mut seen) = (Vec::new(), Vec::new());
    for number in 0..WRITES {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos().to_string();
        let record = json!({"timeUnixNano": nanos, "body": {"stringValue": format!("item-{number}-end")}});
        let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "visible"}}]});
        let body = json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]});
        let start = Instant::now();
        let url = format!("http://{}/v1/logs", server.otlp_http);
        agent.post(url).header("content-type", "application/json").send(body.to_string())?;
        let acknowledged = Instant::now();
        wait_for(&agent, &server.listen, &format!("item-{number}-end"))?;
        written.push((acknowledged - start).as_secs_f64() * 1000.0);
        seen.push(acknowledged.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(vec![
        Row {
            work: "one log record acknowledged after sync, p50".into(),
            result: format!("{:.1} ms", median(written)),
        },
        Row {
            work: "acknowledged to read back by LogQL, p50".into(),
            result: format!("{:.1} ms", median(seen)),
        },
    ])
}

fn wait_for(agent: &ureq::Agent, listen: &str, text: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + WAIT_MAX;
    while Instant::now() < deadline {
        let query = format!("{{service_name=\"visible\"}} |= \"{text}\"");
        let request = agent.get(format!("http://{listen}/loki/api/v1/query_range")).query("query", &query);
        let answer: Value = serde_json::from_str(&request.call()?.body_mut().read_to_string()?)?;
        if answer.pointer("/data/result/0/values/0").is_some() {
            return Ok(());
        }
    }
    Err(format!("{text} was acknowledged and never shown").into())
}
