//! The example `spa` in a real browser.

#[path = "../support/browser.rs"]
mod browser;
#[path = "../../examples/spa.rs"]
mod example;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use browser::{Browser, Tab};
use http::StatusCode;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;

/// What the server has answered to refreshes since the sign-in.
#[derive(Clone, Default)]
struct Refreshes {
    good: Arc<AtomicUsize>,
    bad: Arc<AtomicUsize>,
}

impl Refreshes {
    fn counted(&self, app: Router) -> Router {
        let this = self.clone();
        app.layer(middleware::from_fn(move |request: Request, next: Next| {
            let (this, path) = (this.clone(), request.uri().path().to_owned());
            async move {
                let response = next.run(request).await;
                if path == "/refresh" {
                    let is_good = response.status().is_success();
                    let counter = if is_good { &this.good } else { &this.bad };
                    counter.fetch_add(1, Ordering::SeqCst);
                }
                response
            }
        }))
    }
}

/// Three tabs reload again and again for a minute, in which the access token expires twelve times. Two of them use
/// Web Locks, and the third one does not wait for them. Then a refresh token that was stolen at the beginning is
/// used from outside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tabs_stay_signed_in_until_a_stolen_token_is_used() {
    if !browser::is_installed() {
        return;
    }
    let refreshes = Refreshes::default();
    let app = example::app(LIFETIME).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let site = format!("http://{}", listener.local_addr().unwrap());
    let app = refreshes.counted(app);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });

    let browser = Browser::start().await;
    let tabs = [
        browser.open(&format!("{site}/")).await,
        browser.open(&format!("{site}/")).await,
        browser.open(&format!("{site}/?locks=off")).await,
    ];
    for tab in &tabs {
        browser.wait(tab, OUT).await;
    }
    sign_in(&browser, &tabs[0]).await;
    for tab in &tabs {
        browser.wait(tab, IN).await;
    }
    let stolen = cookie(&browser, &tabs[0], "__Host-refresh").await;
    assert!(stolen.starts_with("rt_"), "{stolen}");

    refreshes.bad.store(0, Ordering::SeqCst);
    let begin = Instant::now();
    while begin.elapsed() < LIFETIME * 12 {
        for tab in &tabs {
            browser.reload(tab).await;
            browser.wait(tab, IN).await;
            // Some reloads cut a refresh off, and some do not.
            let pause = begin.elapsed().subsec_millis() % 700;
            tokio::time::sleep(Duration::from_millis(pause.into())).await;
        }
    }
    assert_eq!(refreshes.bad.load(Ordering::SeqCst), 0);
    let good = refreshes.good.load(Ordering::SeqCst);
    assert!(good >= 11, "{good} refreshes");
    no_page_sees_a_token(&browser, &tabs).await;

    // The thief is caught. The session ends, for the thief and for the tabs.
    let access = cookie(&browser, &tabs[0], "__Host-access").await;
    assert_eq!(
        call(&site, "GET", "/me", &format!("__Host-access={access}")).await,
        200
    );
    let status = call(
        &site,
        "POST",
        "/refresh",
        &format!("__Host-refresh={stolen}"),
    )
    .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(
        call(&site, "GET", "/me", &format!("__Host-access={access}")).await,
        401
    );
    let latest = cookie(&browser, &tabs[0], "__Host-refresh").await;
    let status = call(
        &site,
        "POST",
        "/refresh",
        &format!("__Host-refresh={latest}"),
    )
    .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    for tab in &tabs {
        browser.wait(tab, OUT).await;
    }

    // The user signs in again, and signs out in another tab.
    sign_in(&browser, &tabs[1]).await;
    for tab in &tabs {
        browser.wait(tab, IN).await;
    }
    click(&browser, &tabs[2], "sign-out").await;
    for tab in &tabs {
        browser.wait(tab, OUT).await;
    }
    for name in ["__Host-access", "__Host-refresh"] {
        assert_eq!(browser.cookie(&tabs[0], name).await, None);
    }
}

async fn sign_in(browser: &Browser, tab: &Tab) {
    let fill = "const form = document.getElementById('sign-in');
        form.elements.name.value = 'alice';
        form.elements.password.value = 'correct-horse';
        form.requestSubmit();";
    browser.run(tab, fill).await;
}

async fn click(browser: &Browser, tab: &Tab, id: &str) {
    let script = format!("document.getElementById('{id}').click()");
    browser.run(tab, &script).await;
}

/// The value of a cookie, which has every attribute that it should have. Between two access tokens there is none.
async fn cookie(browser: &Browser, tab: &Tab, name: &str) -> String {
    let cookie = loop {
        if let Some(cookie) = browser.cookie(tab, name).await {
            break cookie;
        }
    };
    assert_eq!(cookie["httpOnly"], true);
    assert_eq!(cookie["secure"], true);
    assert_eq!(cookie["sameSite"], "Lax");
    assert_eq!(cookie["path"], "/");
    cookie["value"].as_str().unwrap().to_owned()
}

async fn no_page_sees_a_token(browser: &Browser, tabs: &[Tab]) {
    let everything = "return [document.cookie, document.documentElement.outerHTML,
        JSON.stringify(localStorage), JSON.stringify(sessionStorage)].join()";
    for tab in tabs {
        let seen = browser.run(tab, everything).await;
        let seen = seen.as_str().unwrap();
        assert!(
            !seen.contains("__Host-") && !seen.contains("rt_") && !seen.contains("eyJ"),
            "{seen}"
        );
    }
}

/// A request from outside of the browser.
async fn call(site: &str, method: &str, path: &str, cookie: &str) -> StatusCode {
    let client: Client<HttpConnector, String> = Client::builder(TokioExecutor::new()).build_http();
    let request = http::Request::builder()
        .method(method)
        .uri(format!("{site}{path}"))
        .header("cookie", cookie)
        .body(String::new())
        .unwrap();
    client.request(request).await.unwrap().status()
}

const IN: &str = "document.body.dataset.state === 'in'";
const OUT: &str = "document.body.dataset.state === 'out'";

/// The lifetime of the access tokens.
const LIFETIME: Duration = Duration::from_secs(5);
