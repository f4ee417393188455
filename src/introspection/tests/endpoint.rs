//! Where the endpoint is, and how it is found.

use super::*;

/// RFC7662-2-1
#[test]
fn an_endpoint_is_asked_by_https_alone_unless_that_is_said() {
    let with = |url: &str, auth: ClientAuth| {
        let server = Server::new(|_| of_json(""));
        let issuer = Issuer::new(url).unwrap();
        let discovered = Introspection::discover_with(&issuer, auth.clone(), server.fetch());
        let at = Introspection::at_with(url, auth, server.fetch());
        assert_eq!(at.is_ok(), discovered.is_ok(), "{url}");
        at
    };
    for good in [
        "https://as.example/i",
        "http://127.0.0.1:1/i",
        "http://localhost/i",
    ] {
        assert!(with(good, basic()).is_ok(), "{good}");
    }
    let plain = "http://keycloak:8080/i";
    for bad in [
        plain,
        "ftp://as.example/i",
        "/i",
        "https://u:p@as.example/i",
    ] {
        let error = with(bad, basic()).unwrap_err();
        assert!(
            matches!(error, ConfigError::Introspection { .. }),
            "{error}"
        );
        let names_a_way = error.to_string().contains("insecure_plain_http");
        assert_eq!(names_a_way, bad == plain, "{error}");
        // The twin: the setter allows plain http, and nothing else.
        let allowed = with(bad, basic().insecure_plain_http()).is_ok();
        assert_eq!(allowed, bad == plain, "{bad}");
    }
}

/// RFC8414-2-1: what came by `https` leads to `https` alone, also with the setter.
#[tokio::test]
async fn metadata_by_plain_http_may_name_an_endpoint_by_plain_http() {
    for (place, is_found) in [
        ("http://keycloak:8080", true),
        ("https://as.example", false),
    ] {
        let server = Server::new(move |request| match request.uri().path() {
            "/introspect" => of_json(r#"{"active":false}"#),
            _ => of_json(format!(
                r#"{{"issuer":"{place}","introspection_endpoint":"http://keycloak:8080/introspect"}}"#
            )),
        });
        let issuer = Issuer::new(place).unwrap();
        let auth = basic().insecure_plain_http();
        let introspection = Introspection::discover_with(&issuer, auth, server.fetch()).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemTime::now);
        let audience = Audience::new("files").unwrap();
        let answer = introspection.ask(TOKEN, &issuer, &audience, &clock).await;
        assert_eq!(answer.is_ok(), is_found, "{answer:?}");
    }
}

fn metadata(endpoint: &str) -> String {
    format!(r#"{{"issuer":"https://as.example",{endpoint}}}"#)
}

const NAMED: &str = r#""introspection_endpoint":"https://as.example/introspect""#;

fn discovering(auth: ClientAuth, server: &Server) -> Introspection {
    Introspection::discover_with(&issuer(), auth, server.fetch()).unwrap()
}

#[tokio::test]
async fn the_endpoint_is_found_once_and_again_after_it_is_forgotten() {
    let server = Server::new(|request| match request.uri().path() {
        "/.well-known/openid-configuration" => of_json(metadata(NAMED)),
        "/introspect" => of_json(r#"{"active":false}"#),
        _ => with_status(404, ""),
    });
    let introspection = discovering(basic(), &server);
    let mut urls = Vec::new();
    for is_forgotten in [false, false, true, false] {
        if is_forgotten {
            introspection.endpoint.place.forget().await;
        }
        ask(&introspection).await.unwrap();
        urls.push(server.asked().len());
    }
    // Two places and the endpoint; the endpoint alone; the place that answered and the endpoint; the endpoint.
    assert_eq!(urls, [3, 4, 6, 7]);
    let asked = server.asked();
    assert_eq!(
        asked[0].0,
        "https://as.example/.well-known/oauth-authorization-server"
    );
    assert_eq!(asked[6].0, URL);
    assert!(
        asked
            .iter()
            .all(|(url, body)| body.is_empty() != (url == URL))
    );
}

/// RFC8414-2-1, RFC8414-3.3-1
#[tokio::test]
async fn metadata_that_do_not_name_the_endpoint_are_a_failure() {
    for text in [
        metadata(r#""jwks_uri":"https://as.example/jwks""#),
        metadata(r#""introspection_endpoint":"http://127.0.0.1/introspect""#),
        metadata(r#""introspection_endpoint":5"#),
        format!(r#"{{"issuer":"https://as.example/",{NAMED}}}"#),
        format!("{{{NAMED}}}"),
        "<html>".to_owned(),
    ] {
        let server = Server::new(move |_| of_json(text.clone()));
        let failure = ask(&discovering(basic(), &server)).await.unwrap_err();
        assert!(!failure.is_ours, "{failure:?}");
        assert!(server.asked().iter().all(|(_, body)| body.is_empty()));
    }
    // A token of another issuer is not shown to this one.
    let server = Server::new(|_| of_json(metadata(NAMED)));
    let introspection = discovering(basic(), &server);
    let clock: Arc<dyn Clock> = Arc::new(SystemTime::now);
    let (other, audience) = (Issuer::new("https://b.example"), Audience::new("files"));
    let asked = introspection.ask(TOKEN, &other.unwrap(), &audience.unwrap(), &clock);
    assert!(
        asked
            .await
            .unwrap_err()
            .reason
            .contains("https://b.example")
    );
    assert!(server.asked().is_empty());
}

/// RFC 8705, section 5.
#[tokio::test]
async fn a_certificate_goes_to_the_endpoint_for_certificates() {
    let alias = r#","mtls_endpoint_aliases":{"introspection_endpoint":"https://mtls.example/i"}"#;
    for (auth, expected) in [
        (basic(), URL),
        (
            ClientAuth::mutual_tls("id").unwrap(),
            "https://mtls.example/i",
        ),
    ] {
        let server = Server::new(move |request| match request.method() {
            &Method::POST => of_json(r#"{"active":false}"#),
            _ => of_json(metadata(&format!("{NAMED}{alias}"))),
        });
        ask(&discovering(auth, &server)).await.unwrap();
        assert_eq!(server.asked().pop().unwrap().0, expected);
    }
}

/// Questions that wait for one search for the endpoint share its failure.
#[tokio::test(start_paused = true)]
async fn many_questions_search_for_the_endpoint_once() {
    let searches = Arc::new(Mutex::new(0));
    let fetch = {
        let searches = Arc::clone(&searches);
        move |_: Request<Vec<u8>>, _: usize| {
            *searches.lock().unwrap() += 1;
            std::future::pending()
        }
    };
    let introspection = Introspection::discover_with(&issuer(), basic(), fetch).unwrap();
    let began = tokio::time::Instant::now();
    let questions: Vec<_> = (0..64)
        .map(|_| {
            let introspection = introspection.clone();
            tokio::spawn(async move { ask(&introspection).await.is_err() })
        })
        .collect();
    for question in questions {
        assert!(question.await.unwrap());
    }
    // Half of the timeout for the first place, and half of the rest for the second.
    assert_eq!(
        (*searches.lock().unwrap(), began.elapsed().as_millis()),
        (2, 3_750)
    );
    assert!(ask(&introspection).await.is_err());
    assert_eq!(*searches.lock().unwrap(), 4);
}
