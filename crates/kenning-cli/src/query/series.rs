//! `kenning query series` and `kenning query labels`

use clap::Args;
use serde_json::Value;

use super::table;
use crate::Failure;
use crate::http::Remote;

/// A stretch of time.
#[derive(Args)]
struct Stretch {
    /// Start: seconds since 1970 or RFC 3339
    #[arg(long)]
    start: Option<String>,
    /// End
    #[arg(long)]
    end: Option<String>,
}

impl Stretch {
    fn parameters(&self) -> Vec<(&str, &str)> {
        let start = self.start.as_deref().map(|value| ("start", value));
        start.into_iter().chain(self.end.as_deref().map(|value| ("end", value))).collect()
    }
}

/// Series by selector.
#[derive(Args)]
pub(super) struct Series {
    /// Series selector; may be given several times
    #[arg(long = "match", required = true, value_name = "SELECTOR")]
    selectors: Vec<String>,
    #[command(flatten)]
    stretch: Stretch,
}

/// A label's values, or the labels' names.
#[derive(Args)]
pub(super) struct Labels {
    /// The label; names of all labels without
    name: Option<String>,
    /// Series selector; may be given several times
    #[arg(long = "match", value_name = "SELECTOR")]
    selectors: Vec<String>,
    #[command(flatten)]
    stretch: Stretch,
}

impl Series {
    pub(super) fn run(&self, remote: &Remote, json: bool) -> Result<(), Failure> {
        let answer = ask(remote, "/api/v1/series", &self.selectors, &self.stretch)?;
        show(&answer, json, table::labels);
        Ok(())
    }
}

impl Labels {
    pub(super) fn run(&self, remote: &Remote, json: bool) -> Result<(), Failure> {
        let path = match &self.name {
            Some(name) => format!("/api/v1/label/{name}/values"),
            None => "/api/v1/labels".to_owned(),
        };
        let answer = ask(remote, &path, &self.selectors, &self.stretch)?;
        show(&answer, json, |name| name.as_str().unwrap_or_default().to_owned());
        Ok(())
    }
}

fn ask(remote: &Remote, path: &str, selectors: &[String], stretch: &Stretch) -> Result<Value, Failure> {
    let selectors = selectors.iter().map(|selector| ("match[]", selector.as_str()));
    let parameters: Vec<_> = selectors.chain(stretch.parameters()).collect();
    remote.get(path, &parameters)
}

fn show(answer: &Value, json: bool, line: impl Fn(&Value) -> String) {
    if json {
        println!("{answer}");
        return;
    }
    for item in answer.get("data").and_then(Value::as_array).into_iter().flatten() {
        println!("{}", table::plain(&line(item)));
    }
}
