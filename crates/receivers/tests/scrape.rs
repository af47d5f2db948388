//! Scrapes of real HTTP servers.

mod common;
#[path = "common/scraping.rs"]
mod scraping;

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::*;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use kenning_model::LabelSet;
use kenning_promconfig::{Discovery, ScrapeConfig, ScrapeProtocol, Secret};
use kenning_receivers::scrape::Health;
use kenning_stdx::files::{Files, MemFiles};
use scraping::*;

#[tokio::test(flavor = "multi_thread")]
async fn samples_report_series_and_stale_markers_arrive() {
    let node = Node::start_default().await;
    let (address, _exporter) = exporter(&node, |number, request| {
        assert_eq!(request.headers()["accept-encoding"], "gzip");
        assert!(
            request.headers()["accept"]
                .to_str()
                .unwrap()
                .starts_with("application/openmetrics-text;version=1.0.0")
        );
        match number {
            0 => page("text/plain; version=0.0.4", "a 1\ngone 2\n"),
            1 => {
                let mut packed = page("text/plain", gzip(b"a 2\n"));
                packed.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
                packed
            }
            _ => page("application/openmetrics-text; version=1.0.0", "# TYPE a gauge\na 3\n# EOF\n"),
        }
    })
    .await;
    let mut labelled = job(address);
    if let Discovery::Static(groups) = &mut labelled.discovery[0] {
        groups[0].labels = vec![("zone".to_owned(), "eu".to_owned())];
    }
    let (targets, stopper) = start(&node, labelled);
    while values(&node, "a").len() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stopper.stop();
    let status = until(&targets, Health::Up).await;
    let expect = [("instance", address.to_string()), ("job", "j".to_owned()), ("zone", "eu".to_owned())];
    assert_eq!(status.labels, LabelSet::from_pairs(expect));
    assert_eq!(status.scrape_url, format!("http://{address}/metrics"));
    assert_eq!(values(&node, "a")[..3], [Some(1.0), Some(2.0), Some(3.0)]);
    assert_eq!(values(&node, "gone"), [Some(2.0), None]);
    assert_eq!(values(&node, "up")[..3], [Some(1.0); 3]);
    assert_eq!(values(&node, "scrape_samples_scraped")[..3], [Some(2.0), Some(1.0), Some(1.0)]);
    assert_eq!(values(&node, "scrape_series_added")[..3], [Some(2.0), Some(0.0), Some(0.0)]);
    let rows = node.store.series();
    let stamps = rows.iter().find(|rows| rows.labels.metric_name() == "up").unwrap();
    assert!(
        stamps.labels.get("zone") == "eu"
            && stamps.samples.windows(2).all(|pair| pair[0].time < pair[1].time)
    );
}

/// Scrapes an exporter that is good once and then answers with `bad`; checks that the target goes down and says why.
async fn check_failure(bad: fn() -> Response<Full<Bytes>>, change: fn(&mut ScrapeConfig), error: &str) {
    let node = Node::start_default().await;
    let good =
        move |number, _: &Request<Incoming>| if number == 0 { page("text/plain", "a 1\n") } else { bad() };
    let (address, _exporter) = exporter(&node, good).await;
    let mut job = job(address);
    change(&mut job);
    let (targets, _stopper) = start(&node, job);
    let status = until(&targets, Health::Down).await;
    assert!(status.last_error.contains(error), "{:?} lacks {error:?}", status.last_error);
    assert_eq!(values(&node, "a"), [Some(1.0), None]);
    assert_eq!(values(&node, "up")[..2], [Some(1.0), Some(0.0)]);
    assert!(node.counted("kenning_scrape_failures_total", &["j"]) >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_take_the_target_down_and_its_series_stale() {
    let status = || Response::builder().status(503).body(Full::default()).unwrap();
    check_failure(status, |_| (), "server returned HTTP status 503 Service Unavailable").await;
    check_failure(|| page("text/plain", "a{ 1\n"), |_| (), "").await;
    check_failure(|| page("text/plain", "a 1\nb 2\n"), |job| job.sample_limit = 1, "sample limit exceeded")
        .await;
    let big = || page("text/plain", "# x\n".repeat(100));
    check_failure(big, |job| job.body_size_limit = 100, "body size limit exceeded").await;
    check_failure(|| page("text/html", "<p>"), |_| (), "fallback_scrape_protocol").await;
    check_failure(|| page("application/openmetrics-text", "a 1\n"), |_| (), "").await;
    // Packed once: doing it for each scrape takes longer than a scrape may.
    static BOMB: LazyLock<Bytes> = LazyLock::new(|| gzip(&vec![b'\n'; 2 << 20]).into());
    LazyLock::force(&BOMB);
    let bomb = || {
        let mut packed = page("text/plain", BOMB.clone());
        packed.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        packed
    };
    check_failure(
        bomb,
        |job| {
            job.body_size_limit = 1 << 20;
            (job.scrape_interval, job.scrape_timeout) = (Duration::from_secs(1), Duration::from_secs(1));
        },
        "too large",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_logged_where_the_job_says() {
    let node = Node::start_default().await;
    let files = Arc::new(MemFiles::default());
    let job = ScrapeConfig { scrape_failure_log_file: "/failed.log".to_owned(), ..job("127.0.0.1:1") };
    let (control, stopper) = start_with(&node, vec![job], files.clone());
    until(control.targets(), Health::Down).await;
    stopper.stop();
    let text = String::from_utf8(files.read("/failed.log", 1 << 20).unwrap()).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((&line["level"], &line["job_name"]), (&"ERROR".into(), &"j".into()));
    assert_eq!(line["target"], "http://127.0.0.1:1/metrics");
    assert!(line["msg"].as_str().unwrap().contains("cannot connect"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_not_there_or_hangs_is_down() {
    let node = Node::start_default().await;
    let (targets, _stopper) = start(&node, job("127.0.0.1:1"));
    assert!(until(&targets, Health::Down).await.last_error.contains("cannot connect to 127.0.0.1:1"));
    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (targets, _stopper) = start(&node, job(hanging.local_addr().unwrap()));
    assert!(until(&targets, Health::Down).await.last_error.contains("timeout"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exporter_without_a_content_type_needs_a_fallback() {
    let node = Node::start_default().await;
    let bare = |_, _: &Request<Incoming>| Response::new(Full::from("a 1\n"));
    let (address, _exporter) = exporter(&node, bare).await;
    let fallback_scrape_protocol = Some(ScrapeProtocol::PrometheusText004);
    let (targets, _stopper) = start(&node, ScrapeConfig { fallback_scrape_protocol, ..job(address) });
    until(&targets, Health::Up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_targets_are_followed_and_targets_that_go_turn_stale() {
    let node = Node::start_default().await;
    let (address, _exporter) = exporter(&node, |_, _| page("text/plain", "a 1\n")).await;
    let files = Arc::new(MemFiles::default());
    files.put("/sd/a.json", format!("[{{\"targets\": [\"{address}\"], \"labels\": {{\"env\": \"x\"}}}}]"));
    let yaml = "scrape_configs:\n- job_name: j\n  scrape_interval: 100ms\n  scrape_timeout: 100ms\n  \
        file_sd_configs: [{files: ['/sd/*.json'], refresh_interval: 50ms}]\n  relabel_configs:\n  \
        - {source_labels: [__meta_filepath], target_label: file}\n  metric_relabel_configs:\n  \
        - {source_labels: [__name__], regex: a, target_label: __name__, replacement: b}\n";
    let config = kenning_promconfig::load(yaml.as_bytes()).unwrap();
    let (control, _stopper) = start_with(&node, config.scrape_configs, files.clone());
    let status = until(control.targets(), Health::Up).await;
    assert_eq!((status.labels.get("file"), status.labels.get("env")), ("/sd/a.json", "x"));
    assert_eq!(status.discovered.get("__meta_filepath"), "/sd/a.json");
    files.put("/sd/a.json", "[]");
    while values(&node, "b").last() != Some(&None) || values(&node, "up").last() != Some(&None) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(control.targets().statuses().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_headers_parameters_and_redirects_go_with_the_request() {
    let node = Node::start_default().await;
    let (address, _exporter) = exporter(&node, |number, request| {
        let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        if number == 0 {
            return Response::builder()
                .status(302)
                .header("location", "/other?x=1")
                .body(Full::default())
                .unwrap();
        }
        let wanted = header("authorization").as_deref() == Some("Basic dTpmcm9tIGZpbGU=")
            && header("x-extra").as_deref() == Some("1")
            && header("x-prometheus-scrape-timeout-seconds").is_some();
        page("text/plain", if wanted { "a 1\n" } else { "a{ 1\n" })
    })
    .await;
    let files = Arc::new(MemFiles::default());
    files.put("/pw", "from file\n");
    let yaml = format!(
        "scrape_configs:\n- job_name: j\n  scrape_interval: 100ms\n  scrape_timeout: 100ms\n  \
         basic_auth: {{username: u, password_file: /pw}}\n  http_headers: {{X-Extra: {{values: ['1']}}}}\n  \
         params: {{module: [a b, c]}}\n  static_configs: [{{targets: ['{address}']}}]\n"
    );
    let config = kenning_promconfig::load(yaml.as_bytes()).unwrap();
    let (control, _stopper) = start_with(&node, config.scrape_configs, files);
    let status = until(control.targets(), Health::Up).await;
    assert_eq!(status.scrape_url, format!("http://{address}/metrics?module=a+b&module=c"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_fetched_once_and_go_with_the_request() {
    let node = Node::start_default().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let (address, _exporter) = exporter(&node, move |_, request| {
        let header = |name: &str| request.headers().get(name).map_or("", |value| value.to_str().unwrap());
        match request.uri().path() {
            // This server takes credentials among the parameters only.
            "/token" if header("authorization").is_empty() => {
                assert_eq!((request.method().as_str(), count.fetch_add(1, Ordering::SeqCst)), ("POST", 0));
                assert_eq!(header("content-type"), "application/x-www-form-urlencoded");
                page("application/json", r#"{"access_token":"t0k3n","expires_in":3600}"#)
            }
            "/token" => Response::builder().status(401).body(Full::default()).unwrap(),
            _ if header("authorization") == "Bearer t0k3n" => page("text/plain", "a 1\n"),
            _ => Response::builder().status(403).body(Full::default()).unwrap(),
        }
    })
    .await;
    let files = Arc::new(MemFiles::default());
    files.put("/secret", "s\n");
    let yaml = format!(
        "scrape_configs:\n- job_name: j\n  scrape_interval: 200ms\n  scrape_timeout: 200ms\n  oauth2: {{client_id: me, \
         client_secret_file: /secret, token_url: 'http://{address}/token', scopes: [read]}}\n  \
         static_configs: [{{targets: ['{address}'], labels: {{n: a}}}}, {{targets: ['{address}'], labels: {{n: b}}}}]\n"
    );
    let config = kenning_promconfig::load(yaml.as_bytes()).unwrap();
    let (_control, _stopper) = start_with(&node, config.scrape_configs, files);
    while values(&node, "a").iter().flatten().count() < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_configuration_stops_and_starts_jobs_and_what_does_not_work_changes_nothing() {
    let node = Node::start_default().await;
    let (address, _exporter) = exporter(&node, |_, _| page("text/plain", "a 1\n")).await;
    let (control, _stopper) = start_with(&node, vec![job(address)], Arc::default());
    until(control.targets(), Health::Up).await;
    let mut bad = job(address);
    bad.client.proxy.url = Some(Secret("socks5://p".to_owned()));
    assert!(control.reload(vec![bad]).unwrap_err()[0].contains("socks5"));
    let other = ScrapeConfig { job_name: "other".to_owned(), ..job(address) };
    control.reload(vec![other]).unwrap();
    while control.targets().statuses().iter().any(|status| status.job_name != "other") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(until(control.targets(), Health::Up).await.labels.get("job"), "other");
}

#[tokio::test(flavor = "multi_thread")]
async fn protobuf_is_asked_for_and_read() {
    let node = Node::start_default().await;
    let (address, _exporter) = exporter(&node, |_, request| {
        let asked = request.headers()["accept"].to_str().unwrap();
        assert!(asked.starts_with("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily"));
        // The length is that of the message: name, type, one metric with a counter of 7.
        let message = [&b"\x0a\x07c_total\x22\x0b\x1a\x09\x09"[..], &7.0f64.to_le_bytes()].concat();
        let body = [&[message.len() as u8][..], &message].concat();
        page(
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
            body,
        )
    })
    .await;
    let job = ScrapeConfig { scrape_protocols: vec![ScrapeProtocol::PrometheusProto], ..job(address) };
    let (targets, _stopper) = start(&node, job);
    until(&targets, Health::Up).await;
    while values(&node, "c_total").len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(values(&node, "c_total").iter().all(|value| *value == Some(7.0)));
}

/// What a daemon says of one container at `port`, one without ports, one in the other's network.
fn daemon(path: &str, port: u16) -> String {
    match path {
        "/networks" => r#"[{"Id":"n1","Name":"front","Scope":"local","Internal":false,"Ingress":false,
            "Labels":{"team.a":"x"}}]"#
            .to_owned(),
        _ => format!(
            r#"[{{"Id":"c1","Names":["/web"],"Labels":{{"com.x/y":"z"}},"HostConfig":{{"NetworkMode":"front"}},
            "Ports":[{{"PrivatePort":{port},"PublicPort":80,"IP":"0.0.0.0","Type":"tcp"}},{{"PrivatePort":1,"Type":"udp"}}],
            "NetworkSettings":{{"Networks":{{"front":{{"NetworkID":"n1","IPAddress":"127.0.0.1"}},
            "zz":{{"NetworkID":"n2","IPAddress":"127.0.0.9"}}}}}}}},
            {{"Id":"c2","Names":["/side"],"HostConfig":{{"NetworkMode":"container:c1"}},"NetworkSettings":{{"Networks":{{}}}}}},
            {{"Id":"c3","Names":[]}}]"#
        ),
    }
}

fn docker_job(host: &str) -> Vec<ScrapeConfig> {
    let yaml = format!(
        "scrape_configs:\n- job_name: d\n  scrape_interval: 100ms\n  scrape_timeout: 100ms\n  docker_sd_configs:\n  \
        - {{host: '{host}', port: 9, refresh_interval: 1s, filters: [{{name: status, values: [running]}}]}}\n"
    );
    kenning_promconfig::load(yaml.as_bytes()).unwrap().scrape_configs
}

async fn check_docker(node: &Node, host: &str, port: u16) {
    let (control, _stopper) = start_with(node, docker_job(host), Arc::default());
    let web = until(control.targets(), Health::Up).await.discovered;
    for (label, value) in [
        ("__address__", format!("127.0.0.1:{port}").as_str()),
        ("__meta_docker_container_id", "c1"),
        ("__meta_docker_container_name", "/web"),
        ("__meta_docker_container_network_mode", "front"),
        ("__meta_docker_container_label_com_x_y", "z"),
        ("__meta_docker_network_id", "n1"),
        ("__meta_docker_network_name", "front"),
        ("__meta_docker_network_scope", "local"),
        ("__meta_docker_network_internal", "false"),
        ("__meta_docker_network_ingress", "false"),
        ("__meta_docker_network_label_team_a", "x"),
        ("__meta_docker_network_ip", "127.0.0.1"),
        ("__meta_docker_port_private", port.to_string().as_str()),
        ("__meta_docker_port_public", "80"),
        ("__meta_docker_port_public_ip", "0.0.0.0"),
    ] {
        assert_eq!(web.get(label), value, "{label}");
    }
    let all = control.targets().statuses();
    let side =
        all.iter().find(|status| status.discovered.get("__meta_docker_container_name") == "/side").unwrap();
    assert_eq!(side.discovered.get("__address__"), "127.0.0.1:9");
    assert_eq!(all.len(), 2, "the first network of a container alone counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_are_found_over_http() {
    let node = Node::start_default().await;
    let port = Arc::new(AtomicUsize::new(0));
    let known = port.clone();
    let (address, _exporter) = exporter(&node, move |_, request| match request.uri().path() {
        "/metrics" => page("text/plain", "a 1\n"),
        path => {
            let filters = "filters=%7B%22status%22%3A%5B%22running%22%5D%7D";
            assert!(path == "/networks" || request.uri().query() == Some(filters), "{}", request.uri());
            page("application/json", daemon(path, known.load(Ordering::SeqCst) as u16))
        }
    })
    .await;
    port.store(address.port().into(), Ordering::SeqCst);
    check_docker(&node, &format!("tcp://{address}"), address.port()).await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn containers_are_found_over_a_socket() {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let node = Node::start_default().await;
    let (address, _exporter) = exporter(&node, |_, _| page("text/plain", "a 1\n")).await;
    let path = std::env::temp_dir().join(format!("kenning-docker-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (read, mut write) = stream.into_split();
            let (mut lines, mut path) = (BufReader::new(read).lines(), String::new());
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(rest) = line.strip_prefix("GET ") {
                    path = rest.split(['?', ' ']).next().unwrap().to_owned();
                } else if line.is_empty() {
                    let body = daemon(&path, address.port());
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                    write.write_all((head + &body).as_bytes()).await.unwrap();
                }
            }
        }
    });
    check_docker(&node, &format!("unix://{}", path.display()), address.port()).await;
    let _ = std::fs::remove_file(&path);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_tells_the_targets() {
    let node = Node::start_default().await;
    let (address, _exporter) = exporter(&node, move |_, request| match request.uri().path() {
        "/sd" => {
            assert_eq!(request.headers()["x-prometheus-refresh-interval-seconds"], "1");
            let host = request.headers()["host"].to_str().unwrap();
            page("application/json", format!(r#"[{{"targets":["{host}"],"labels":{{"env":"x"}}}}]"#))
        }
        _ => page("text/plain", "a 1\n"),
    })
    .await;
    let yaml = format!(
        "scrape_configs:\n- job_name: d\n  scrape_interval: 100ms\n  scrape_timeout: 100ms\n  http_sd_configs:\n  \
        - {{url: 'http://{address}/sd', refresh_interval: 1s}}\n"
    );
    let jobs = kenning_promconfig::load(yaml.as_bytes()).unwrap().scrape_configs;
    let (control, _stopper) = start_with(&node, jobs, Arc::default());
    let found = until(control.targets(), Health::Up).await;
    assert_eq!(found.labels.get("env"), "x");
    assert_eq!(found.discovered.get("__meta_url"), format!("http://{address}/sd"));
}
