//! A real browser for the tests: Debian's Chromium without a window, driven through `chromedriver` by plain
//! HTTP (WebDriver, W3C). Both are started on free ports and in an empty folder, and stopped at the end.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

#[path = "required.rs"]
mod required;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{Method, Request};
use http_body_util::BodyExt;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use required::{is_on_path, or_skipped};
use serde_json::{Value, json};

/// One browser, with one profile that all its tabs share.
pub struct Browser {
    http: Client<HttpConnector, String>,
    driver: Child,
    port: u16,
    session: String,
    /// The process of the browser, which is not a child of this one.
    process: u64,
    profile: PathBuf,
}

/// A tab, which has a page of its own and shares its cookies with the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tab(String);

/// Whether there is a browser to test with. Says so if there is none.
pub fn is_installed() -> bool {
    let is_there = ["chromium", "chromedriver"].into_iter().all(is_on_path);
    or_skipped(
        is_there,
        "`chromium` and `chromedriver` on the PATH",
        "BROWSER",
    )
}

impl Browser {
    /// Starts a browser. Call [`is_installed`] first.
    pub async fn start() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("tower-jwt-auth-browser-{}-{number}", std::process::id());
        let profile = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&profile).unwrap();
        let mut driver = Command::new("chromedriver");
        driver.arg("--port=0").stdout(Stdio::piped());
        let mut driver = driver.stderr(Stdio::null()).spawn().unwrap();
        let port = port_of(&mut driver);
        let mut browser = Self {
            http: Client::builder(TokioExecutor::new()).build_http(),
            driver,
            port,
            session: String::new(),
            process: 0,
            profile,
        };
        let mut arguments: Vec<_> = ARGUMENTS.iter().map(|it| (*it).to_owned()).collect();
        arguments.push(format!("--user-data-dir={}", browser.profile.display()));
        let options = json!({ "goog:chromeOptions": { "args": arguments } });
        let wanted = json!({ "capabilities": { "alwaysMatch": options } });
        let made = browser.call(Method::POST, "/session", wanted).await;
        browser.session = made["sessionId"].as_str().unwrap().to_owned();
        browser.process = made["capabilities"]["goog:processID"].as_u64().unwrap();
        browser
    }

    /// Opens a tab with this page, and waits until it is loaded.
    pub async fn open(&self, url: &str) -> Tab {
        let made = self.post("/window/new", json!({ "type": "tab" })).await;
        let tab = Tab(made["handle"].as_str().unwrap().to_owned());
        self.go(&tab, url).await;
        tab
    }

    /// Loads a page in a tab.
    pub async fn go(&self, tab: &Tab, url: &str) {
        self.show(tab).await;
        self.post("/url", json!({ "url": url })).await;
    }

    pub async fn reload(&self, tab: &Tab) {
        self.show(tab).await;
        self.post("/refresh", json!({})).await;
    }

    /// Runs a script in a tab, and returns what it returns.
    pub async fn run(&self, tab: &Tab, script: &str) -> Value {
        self.show(tab).await;
        let script = json!({ "script": script, "args": [] });
        self.post("/execute/sync", script).await
    }

    /// Waits until this expression is true in a tab.
    pub async fn wait(&self, tab: &Tab, expression: &str) {
        let begin = Instant::now();
        let script = format!("return Boolean({expression})");
        while self.run(tab, &script).await != Value::Bool(true) {
            if begin.elapsed() > PATIENCE {
                let text = self.run(tab, "return document.body.innerText").await;
                panic!("never true: {expression}. The page says {text}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The value of a cookie, as it would be in the hands of a thief: no page can read it.
    pub async fn cookie(&self, tab: &Tab, name: &str) -> Option<Value> {
        self.show(tab).await;
        let all = self.session(Method::GET, "/cookie", Value::Null).await;
        let mut all = all.as_array().unwrap().iter();
        all.find(|cookie| cookie["name"] == name).cloned()
    }

    async fn show(&self, tab: &Tab) {
        self.post("/window", json!({ "handle": tab.0 })).await;
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.session(Method::POST, path, body).await
    }

    async fn session(&self, method: Method, path: &str, body: Value) -> Value {
        let path = format!("/session/{}{path}", self.session);
        self.call(method, &path, body).await
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let text = if method == Method::GET {
            String::new()
        } else {
            body.to_string()
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("http://127.0.0.1:{}{path}", self.port))
            .body(text)
            .unwrap();
        let response = self.http.request(request).await.unwrap();
        let status = response.status();
        let answer = response.into_body().collect().await.unwrap().to_bytes();
        let mut answer: Value = serde_json::from_slice(&answer).unwrap();
        assert!(status.is_success(), "{path} {body}: {answer}");
        answer["value"].take()
    }
}

/// The port that the driver has chosen, from the line that says so.
fn port_of(driver: &mut Child) -> u16 {
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let port = lines.find_map(|line| {
        let line = line.unwrap();
        let port = line.strip_prefix("ChromeDriver was started successfully on port ")?;
        port.trim_end_matches('.').parse().ok()
    });
    // What it says later must go somewhere.
    std::thread::spawn(move || lines.for_each(drop));
    port.expect("chromedriver names its port")
}

/// Ends the browser, which the driver would leave behind, and the driver.
impl Drop for Browser {
    fn drop(&mut self) {
        let process = self.process.to_string();
        let signal = |signal: &str| {
            let mut kill = Command::new("kill");
            let sent = kill.args([signal, &*process]).stderr(Stdio::null());
            self.process != 0 && sent.status().is_ok_and(|status| status.success())
        };
        let begin = Instant::now();
        signal("-TERM");
        while signal("-0") && begin.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

/// Without a window, and without talking to anybody but the tested server.
const ARGUMENTS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// No test is known to need a tenth of it.
const PATIENCE: Duration = Duration::from_secs(60);
