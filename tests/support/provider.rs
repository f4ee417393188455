//! A real OpenID provider: its tokens, its keys, and a process of the test that may be killed.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::files::Directory;

/// The URL of the provider in the environment, and the path of its program.
pub(crate) struct Place {
    pub(crate) issuer: String,
    pub(crate) app: PathBuf,
}

impl Place {
    /// If no provider runs, prints that `test` is skipped and returns `None`. With
    /// `TOWER_JWT_AUTH_REQUIRE_PROVIDER=1` that is a failure.
    pub(crate) fn of_environment(test: &str) -> Option<Self> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        if let [Some(issuer), Some(directory)] = ["IDP_ISSUER", "IDP_DIR"].map(variable) {
            let app = PathBuf::from(directory).join("app");
            return Some(Self { issuer, app });
        }
        let is_required = variable("TOWER_JWT_AUTH_REQUIRE_PROVIDER").is_some_and(|set| set == "1");
        assert!(
            !is_required,
            "{test}: IDP_ISSUER and IDP_DIR name no OpenID provider, \
             and TOWER_JWT_AUTH_REQUIRE_PROVIDER is 1"
        );
        crate::say(&format!(
            "{test}: SKIPPED, because IDP_ISSUER and IDP_DIR name no OpenID provider"
        ));
        None
    }
}

/// An access token, and the id of the key that it was signed with.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) key_id: String,
}

impl Token {
    fn new(text: &str) -> Self {
        let header = URL_SAFE_NO_PAD.decode(text.split('.').next().unwrap());
        let header: Value = serde_json::from_slice(&header.unwrap()).unwrap();
        Self {
            text: text.to_owned(),
            key_id: header["kid"].as_str().unwrap().to_owned(),
        }
    }

    /// The same token with another key id. Its signature does not verify.
    pub(crate) fn with_key_id(&self, id: &str) -> String {
        let (header, rest) = self.text.split_once('.').unwrap();
        let header = URL_SAFE_NO_PAD.decode(header).unwrap();
        let mut header: Value = serde_json::from_slice(&header).unwrap();
        header["kid"] = id.into();
        format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
    }

    /// The same token with another signature of the same length.
    pub(crate) fn forged(&self) -> String {
        let (signed, signature) = self.text.rsplit_once('.').unwrap();
        let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        signature[9] ^= 1;
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// What a client can ask a provider for.
#[derive(Clone)]
pub(crate) struct Provider {
    issuer: String,
    http: reqwest::Client,
    /// Limits concurrent requests for tokens, so that the provider has time to answer for its keys.
    turns: Arc<Semaphore>,
}

impl Provider {
    pub(crate) fn new(issuer: &str) -> Self {
        // A provider that was paused closes idle connections.
        let http = reqwest::Client::builder().pool_max_idle_per_host(0);
        Self {
            issuer: issuer.to_owned(),
            http: http.no_proxy().build().unwrap(),
            turns: Arc::new(Semaphore::new(8)),
        }
    }

    /// An access token of a machine for a resource.
    pub(crate) async fn token(&self, resource: &str) -> Token {
        let form = format!(
            "grant_type=client_credentials&scope=calendar%3Aread\
             &resource=https%3A%2F%2F{resource}.example%2F"
        );
        let _turn = self.turns.acquire().await.unwrap();
        // A request during a change of keys may have to be repeated.
        for _ in 0..4 {
            let request = self.http.post(format!("{}/token", self.issuer));
            let request = request
                .basic_auth("calendar-batch", Some("calendar-batch-secret"))
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form.clone());
            let answer = request.send().await.unwrap().bytes().await.unwrap();
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            if let Some(text) = answer["access_token"].as_str() {
                return Token::new(text);
            }
        }
        panic!("the provider issues no token for {resource}");
    }

    async fn admin(&self, path: &str, body: Option<Value>) -> Value {
        let url = format!("{}/admin/{path}", self.issuer);
        let request = match body {
            Some(body) => self.http.post(url).body(body.to_string()),
            None => self.http.get(url),
        };
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    /// The ids of the keys that a family publishes.
    pub(crate) async fn published(&self, family: &str) -> Vec<String> {
        let keys = self.admin("keys", None).await;
        let ids = keys[family]["published"].as_array().unwrap();
        ids.iter().map(|id| id.as_str().unwrap().into()).collect()
    }

    /// Signs with a new key from now on, and still publishes the old ones. Returns the id of the new key.
    pub(crate) async fn rotate(&self, family: &str) -> String {
        self.change("keys/rotate", family).await
    }

    /// Signs with a new key from now on, and no longer publishes the old ones. Returns the id of the new key.
    pub(crate) async fn replace(&self, family: &str) -> String {
        self.change("keys/replace", family).await
    }

    async fn change(&self, how: &str, family: &str) -> String {
        let answer = self.admin(how, Some(json!({ "family": family }))).await;
        answer["result"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn forget_counts(&self) {
        self.admin("counts/reset", Some(json!({}))).await;
    }

    /// The number of requests for the key set.
    pub(crate) async fn fetches(&self) -> u64 {
        let counts = self.admin("counts", None).await;
        counts["jwks"].as_u64().unwrap_or(0)
    }
}

/// A provider that the test starts, and that ends with the test.
pub(crate) struct Process {
    child: Child,
    app: PathBuf,
    directory: Directory,
    port: u16,
}

impl Process {
    pub(crate) async fn start(app: &Path, name: &str) -> Self {
        let (app, directory, port) = (app.to_owned(), Directory::new(name), quiet_port());
        let child = run(&app, &directory.path, port).await;
        Self {
            child,
            app,
            directory,
            port,
        }
    }

    pub(crate) fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Sends a signal to this one process.
    pub(crate) async fn signal(&self, signal: &str) {
        let id = self.child.id().unwrap().to_string();
        let command = ["-c", "kill -s \"$0\" \"$1\"", signal, &id];
        let status = Command::new("sh").args(command).status().await.unwrap();
        assert!(status.success(), "{signal}");
    }

    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts it again at the same URL, with new keys.
    pub(crate) async fn start_again(&mut self) {
        self.child = run(&self.app, &self.directory.path, self.port).await;
    }
}

/// Starts the provider, and waits until it is ready.
async fn run(app: &Path, directory: &Path, port: u16) -> Child {
    let mut command = Command::new("node");
    // The other variables of the environment belong to another provider.
    for name in ["IDP_TLS_PORT", "IDP_SCHEME", "IDP_ALG", "IDP_ACCESS_TTL"] {
        command.env_remove(name);
    }
    command
        .arg(app.join("server.mjs"))
        .env("IDP_DIR", directory)
        .env("IDP_REMOVE_DIR", "0")
        .env("IDP_PORT", port.to_string())
        .env("IDP_MAX_SECONDS", "300")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut child = command.spawn().expect("node runs");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = async {
        // This is the last line that it prints.
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.starts_with("IDP_PID=") {
                return;
            }
        }
        panic!("the provider has ended at its start");
    };
    let limit = Duration::from_secs(60);
    timeout(limit, ready).await.expect("the provider is ready");
    child
}

/// A free port that the system does not give to a connection while the provider is not running.
fn quiet_port() -> u16 {
    let offset = u16::try_from(std::process::id() % 10_000).unwrap();
    (0..10_000)
        .map(|step| 20_000 + (offset + step) % 10_000)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}
