//! The real binary as a test sees it: started on free ports, asked over HTTP, stopped or killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_kenning");

/// A running `kenning serve`.
pub struct Server {
    child: Child,
    /// Address of the main port.
    pub listen: String,
    /// Address of OTLP over HTTP.
    pub otlp_http: String,
    agent: ureq::Agent,
}

impl Server {
    /// Starts `program` on `data_dir` and waits for the ready line; what it logs goes to `log`.
    pub fn start(program: &Path, data_dir: &Path, extra: &[&str], log: Stdio) -> Self {
        let mut child = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0", "--otlp-grpc-listen", "127.0.0.1:0"])
            .args(["--otlp-http-listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .args(extra)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let output = BufReader::new(child.stdout.take().expect("its output is piped"));
        let ready = output
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("ready ").map(str::to_owned));
        let addresses: Value =
            serde_json::from_str(&ready.expect("a ready line")).expect("addresses as JSON");
        let address = |key: &str| addresses[key].as_str().expect("an address").to_owned();
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(30)));
        Self {
            listen: address("listen"),
            otlp_http: address("otlp_http_listen"),
            agent: config.http_status_as_error(false).build().into(),
            child,
        }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end and waits until it has.
    pub fn terminate(mut self) -> ExitStatus {
        let _ = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status();
        self.child.wait().expect("it ends")
    }

    /// GETs a path of the main port: status and body.
    pub fn get(&self, path: &str, parameters: &[(&str, &str)]) -> (u16, String) {
        let mut request = self.agent.get(format!("http://{}{path}", self.listen));
        for (name, value) in parameters {
            request = request.query(name, value);
        }
        let mut response = request.call().expect("an answer");
        let body = response.body_mut().with_config().limit(1 << 30).read_to_string().expect("a body");
        (response.status().as_u16(), body)
    }

    /// GETs JSON that must be there.
    pub fn json(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let (status, body) = self.get(path, parameters);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// POSTs JSON; the status, or `None` when the connection broke.
pub fn post(agent: &ureq::Agent, url: &str, body: &Value) -> Option<u16> {
    let sent = agent.post(url).header("content-type", "application/json").send(body.to_string());
    sent.ok().map(|response| response.status().as_u16())
}
