//! Debian's Prometheus with the alerts of `deploy/observability`.

use std::{
    collections::BTreeSet,
    fs,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{Client, free_port};

const PROGRAM: &str = "/usr/bin/prometheus";
const PATIENCE: Duration = Duration::from_secs(20);
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/observability");

/// A Prometheus that ends with the test.
pub(crate) struct Prometheus {
    child: Child,
    client: Client,
    _folder: TempDir,
}

impl Prometheus {
    /// Scrapes these addresses each second, with alerts whose times are `shorten`ed.
    pub(crate) async fn start(targets: &[String], shorten: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut alerts = fs::read_to_string(format!("{FOLDER}/alerts.yml")).expect("the alerts");
        for (long, short) in shorten {
            assert!(alerts.contains(long), "no alert has {long}");
            alerts = alerts.replace(long, short);
        }
        fs::write(folder.path().join("alerts.yml"), alerts).expect("the alerts");
        let example = fs::read_to_string(format!("{FOLDER}/prometheus.yml")).expect("an example");
        let configuration = example
            .replace("_interval: 15s", "_interval: 1s")
            .replace(r#"["127.0.0.1:9000"]"#, &format!("{targets:?}"));
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, configuration).expect("a configuration");
        let address = format!("127.0.0.1:{}", free_port());
        let child = Command::new(PROGRAM)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Prometheus, which bin/prometheus installs");
        let client = Client::new(&format!("http://{address}"));
        let mut started = Self { child, client, _folder: folder };
        started.wait_until_ready().await;
        started
    }

    async fn wait_until_ready(&mut self) {
        let started = Instant::now();
        loop {
            let answer = self.client.request(reqwest::Method::GET, "/-/ready").send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            assert_eq!(self.child.try_wait().expect("a status"), None, "it does not run");
            assert!(started.elapsed() < PATIENCE, "it is not ready");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The names of the alerts that fire now.
    pub(crate) async fn firing(&self) -> BTreeSet<String> {
        let answer: Value = self.client.get("/api/v1/alerts").await.json();
        let alerts = answer["data"]["alerts"].as_array().expect("alerts");
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        firing
            .filter_map(|alert| alert["labels"]["alertname"].as_str().map(str::to_owned))
            .collect()
    }

    /// How many series an expression has now.
    pub(crate) async fn series(&self, expression: &str) -> usize {
        let url = reqwest::Url::parse_with_params(
            "http://localhost/api/v1/query",
            [("query", expression)],
        );
        let url = url.expect("a URL");
        let path = format!("{}?{}", url.path(), url.query().unwrap_or_default());
        let answer: Value = self.client.get(&path).await.json();
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        answer["data"]["result"].as_array().map_or(0, Vec::len)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs promtool in `deploy/observability`.
pub(crate) fn promtool(args: &[&str]) -> Output {
    let mut command = Command::new("/usr/bin/promtool");
    let command = command.args(args).current_dir(FOLDER).stdin(Stdio::null());
    command.output().expect("promtool, which bin/prometheus installs")
}
