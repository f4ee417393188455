//! What is asked, byte for byte, and with which credentials.

use super::*;

/// RFC7662-2.1-1, RFC7662-4-2
#[tokio::test]
async fn asks_by_post_with_a_form_and_nothing_in_the_url() {
    let server = Server::new(|_| of_json(r#"{"active":false}"#));
    let introspection = Introspection::at_with(URL, basic(), server.fetch()).unwrap();
    assert!(matches!(ask(&introspection).await, Ok(Answer::Inactive)));
    let form = "token=oat_4f%2F9%2B%C3%BC+secret+token&token_type_hint=access_token";
    assert_eq!(server.asked(), [(URL.to_owned(), form.to_owned())]);
    assert_eq!(server.asked.lock().unwrap()[0].method(), Method::POST);
    for (name, expected) in [
        (CONTENT_TYPE, "application/x-www-form-urlencoded"),
        (ACCEPT, "application/json"),
        (ACCEPT_ENCODING, "identity"),
        (AUTHORIZATION, "Basic ZmlsZXMtYXBpOmZpbGVzLWFwaS1zZWNyZXQ="),
    ] {
        assert_eq!(server.last_header(name).as_deref(), Some(expected));
    }
    let headers = server.asked.lock().unwrap()[0].headers().clone();
    assert!(headers[AUTHORIZATION].is_sensitive());
}

/// RFC7662-2.1-2
#[tokio::test]
async fn each_method_sends_what_its_standard_says() {
    let sent = async |auth: ClientAuth| {
        let server = Server::new(|_| of_json(r#"{"active":false}"#));
        ask(&Introspection::at_with(URL, auth, server.fetch()).unwrap())
            .await
            .unwrap();
        let mut form = server.last_form();
        let rest = form.split_off(2);
        assert_eq!(form[1].0, "token_type_hint");
        (server.last_header(AUTHORIZATION), rest)
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());

    // The id and the secret are form-encoded before: `a%3Ab` and `%C3%BC+%25%3A`.
    let (header, form) = sent(ClientAuth::secret_basic("a:b", "ü %:").unwrap()).await;
    let encoded = "Basic YSUzQWI6JUMzJUJDKyUyNSUzQQ==";
    assert_eq!((header.as_deref(), form), (Some(encoded), vec![]));
    // As they are: `ab` and `ü %:`.
    let (header, form) = sent(ClientAuth::insecure_raw_basic("ab", "ü %:").unwrap()).await;
    assert_eq!(
        (header.as_deref(), form),
        (Some("Basic YWI6w7wgJTo="), vec![])
    );

    let (header, form) = sent(ClientAuth::secret_post("a&b", "c d").unwrap()).await;
    let expected = vec![pair("client_id", "a%26b"), pair("client_secret", "c+d")];
    assert_eq!((header, form), (None, expected));

    let (header, form) = sent(ClientAuth::mutual_tls("mtls-api").unwrap()).await;
    assert_eq!((header, form), (None, vec![pair("client_id", "mtls-api")]));

    let (header, form) = sent(ClientAuth::bearer("abc.d-e~f+/==").unwrap()).await;
    assert_eq!(
        (header.as_deref(), form),
        (Some("Bearer abc.d-e~f+/=="), vec![])
    );
}

/// RFC7662-2.1-2
#[test]
fn credentials_that_no_server_can_accept_are_an_error_of_the_start() {
    for wrong in [
        ClientAuth::secret_basic("", "secret"),
        ClientAuth::secret_basic("id", ""),
        ClientAuth::secret_basic("id", "from a file\n"),
        ClientAuth::secret_basic("i\nd", "secret"),
        ClientAuth::insecure_raw_basic("i:d", "secret"),
        ClientAuth::secret_post("id", "se\0cret"),
        ClientAuth::mutual_tls(""),
        ClientAuth::bearer(""),
        ClientAuth::bearer("="),
        ClientAuth::bearer("two words"),
    ] {
        let error = wrong.unwrap_err();
        assert!(matches!(error, ConfigError::ClientAuth { .. }), "{error}");
        for secret in ["se\0cret", "from a file", "two words"] {
            assert!(!error.to_string().contains(secret), "{error}");
        }
    }
    let error = ClientAuth::secret_basic("id", "from a file\n").unwrap_err();
    assert!(error.to_string().contains("line break"), "{error}");
    ClientAuth::secret_basic("a:b", "any: text").unwrap();
}

#[tokio::test]
async fn a_secret_is_replaced_while_it_is_in_use() {
    let server = Server::new(|_| of_json(r#"{"active":false}"#));
    let secret = ClientSecret::from("first");
    let auth = ClientAuth::secret_post("id", secret.clone()).unwrap();
    let introspection = Introspection::at_with(URL, auth, server.fetch()).unwrap();
    let sent = async || {
        ask(&introspection).await.unwrap();
        server.last_form().pop().unwrap().1
    };
    assert_eq!(sent().await, "first");
    secret.replace("second").unwrap();
    assert_eq!(sent().await, "second");
    secret.replace("third\n").unwrap_err();
    assert_eq!(sent().await, "second");
    // What is no bearer token any more is our fault, and no request.
    let token = ClientSecret::from("good");
    let auth = ClientAuth::bearer(token.clone()).unwrap();
    token.replace("not good").unwrap();
    let introspection = Introspection::at_with(URL, auth, server.fetch()).unwrap();
    let failure = ask(&introspection).await.unwrap_err();
    assert!(
        failure.is_ours && !failure.reason.contains("not good"),
        "{failure:?}"
    );
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn debug_shows_no_secret() {
    let secret = ClientSecret::from("hidden-value");
    let auth = ClientAuth::secret_basic("files-api", secret.clone()).unwrap();
    let server = Server::new(|_| of_json(""));
    let introspection = Introspection::at_with(URL, auth.clone(), server.fetch()).unwrap();
    let text = format!("{secret:?} {auth:?} {introspection:?}");
    assert!(!text.contains("hidden"), "{text}");
    for shown in ["client_secret_basic", "files-api", URL] {
        assert!(text.contains(shown), "{text}");
    }
    let bearer = format!("{:?}", ClientAuth::bearer("hidden-value").unwrap());
    assert!(!bearer.contains("hidden"), "{bearer}");
}
