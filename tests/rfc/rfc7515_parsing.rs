//! The compact form, the header and the payload: what is read, and what is rejected before it is
//! trusted (RFC 7515, RFC 7519, RFC 8725).

use crate::support::{AUDIENCE, Fixture, ISSUER, NOW, get, get_with, send};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::{Value, json};
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{
    Algorithm, Audience, Claims, Issuer, JwtAuth, KeySet, Rejection, RejectionKind, Verifier,
};

use RejectionKind::{
    AlgorithmNotAllowed, AudienceMismatch, BadSignature, DuplicateMember, EncryptedToken, Expired,
    InvalidClaim, IssuerMismatch, MalformedToken, MissingClaim, UnknownKey, UnsupportedCritical,
    WrongType,
};

/// The claims of a good token, as text.
fn good_claims() -> String {
    format!(
        r#""iss":"{ISSUER}","sub":"subject-1","aud":"{AUDIENCE}","iat":{NOW},"exp":{}"#,
        NOW + 300
    )
}

/// A good header for `k1` with these members added.
fn header_with(more: &str) -> String {
    format!(r#"{{"alg":"ES256","kid":"k1"{more}}}"#)
}

fn claims_with(more: &str) -> String {
    format!("{{{}{more}}}", good_claims())
}

/// The three parts of a good token.
fn parts(token: &str) -> [String; 3] {
    let parts: Vec<_> = token.split('.').map(String::from).collect();
    parts.try_into().expect("three parts")
}

/// Asserts the status of an HTTP request with this credential, which must not reach the service.
async fn answers(fixture: &Fixture, token: &str, status: StatusCode) {
    let (response, seen) = send(&fixture.auth(), get(token)).await;
    assert_eq!(response.status(), status, "{token:?}");
    assert_eq!(seen.count(), 0, "{token:?}");
}

/// RFC7515-7.1-1
#[tokio::test]
async fn accepts_three_parts_and_rejects_every_other_number() {
    let fixture = Fixture::new();
    let good = fixture.token().mint();
    fixture.accepts(&good);

    for token in ["", ".", "..", "a", "a.b", "a.b.c", "a.b.c.d", "......"] {
        fixture.rejects(token, MalformedToken);
    }
    for token in [
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.x"),
        good.replacen('.', "..", 1),
        good.rsplit_once('.').unwrap().0.to_owned(),
    ] {
        fixture.rejects(&token, MalformedToken);
        answers(&fixture, &token, StatusCode::UNAUTHORIZED).await;
    }

    let encrypted = "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.OKOawDo13gRp2oja.48V1_ALb6US04U3b.5eym8TW_c8SuK0lt.XFBoMYUZodetZdvT";
    fixture.rejects(encrypted, EncryptedToken);
    fixture.rejects("a.b.c.d.e", EncryptedToken);
    answers(&fixture, encrypted, StatusCode::UNAUTHORIZED).await;
}

/// RFC8725-3.3-2, RFC8725bis-3.13-1, RFC8725bis-3.15-1: nothing is decrypted, so encryption proves nothing, and
/// neither the work of a key derivation nor a decompression can be asked for.
#[test]
fn an_encrypted_token_is_rejected_whatever_its_header_asks_for() {
    let fixture = Fixture::new();
    for header in [
        json!({"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2s": "c2FsdA", "p2c": 2_000_000_000}),
        json!({"alg": "RSA1_5", "enc": "A128CBC-HS256"}),
        json!({"alg": "RSA-OAEP-256", "enc": "A256GCM", "zip": "DEF"}),
        json!({"alg": "dir", "enc": "A128GCM", "kid": "k1"}),
        json!({"alg": "ES256", "kid": "k1", "cty": "JWT"}),
    ] {
        let first = URL_SAFE_NO_PAD.encode(header.to_string());
        let claims = URL_SAFE_NO_PAD.encode(claims_with(""));
        let sealed = format!("{first}.a2V5.aXY.{claims}.dGFn");
        fixture.rejects(&sealed, EncryptedToken);
        // In three parts, the algorithm is none that signs.
        let alg = header["alg"].as_str().unwrap();
        let signed = fixture.token().header("alg", alg).mint();
        match alg {
            "ES256" => drop(fixture.accepts(&signed)),
            _ => fixture.rejects(&signed, AlgorithmNotAllowed),
        }
    }
}

/// RFC7515-2-1
#[tokio::test]
async fn rejects_padding_other_alphabets_and_white_space_in_each_part() {
    let fixture = Fixture::new();
    let good = parts(&fixture.token().mint());
    fixture.accepts(&good.join("."));

    for stray in [
        "=", "==", "+", "/", "%0A", " ", "\n", "\r\n", "\t", "\0", "é",
    ] {
        for at in 0..3 {
            for middle in [false, true] {
                let mut changed = good.clone();
                let place = if middle { 8 } else { changed[at].len() };
                changed[at].insert_str(place, stray);
                let token = changed.join(".");
                fixture.rejects(&token, MalformedToken);

                // A text that cannot be a credential makes the request malformed (RFC 6750, section
                // 3.1).
                let is_token68 = match stray {
                    "=" | "==" => at == 2 && !middle,
                    "+" | "/" => true,
                    _ => false,
                };
                let status = if is_token68 {
                    StatusCode::UNAUTHORIZED
                } else {
                    StatusCode::BAD_REQUEST
                };
                // White space around a field value is not part of it (RFC 9110, section 5.5).
                let is_field = http::HeaderValue::from_bytes(token.as_bytes()).is_ok();
                if is_field && token.trim_end() == token {
                    answers(&fixture, &token, status).await;
                }
            }
        }
    }
}

/// RFC4648-3.5-1
#[test]
fn knows_exactly_one_text_form_of_a_token() {
    let fixture = Fixture::new();
    // Lengths for which the last character of each part has unused bits.
    let filler = |length: usize| format!(r#","x":"{}""#, "y".repeat(length));
    let mut tried = [0; 3];
    for length in 0..3 {
        let token = fixture
            .token()
            .raw_header(header_with(&filler(length)))
            .raw_claims(claims_with(&filler(length)));
        let good = parts(&token.mint());
        fixture.accepts(&good.join("."));
        for at in 0..3 {
            let canonical = URL_SAFE_NO_PAD.decode(&good[at]).unwrap();
            let last = good[at].len() - 1;
            for symbol in ALPHABET.chars() {
                let mut changed = good.clone();
                changed[at].replace_range(last.., symbol.encode_utf8(&mut [0; 4]));
                // Only unused bits differ, so a lenient decoder returns the same bytes.
                if changed[at] == good[at] || lax(&changed[at]) != canonical {
                    continue;
                }
                tried[at] += 1;
                fixture.rejects(&changed.join("."), MalformedToken);
            }
        }
    }
    assert!(tried.iter().all(|count| *count >= 3), "{tried:?}");
}

/// Decodes base64url as most decoders do, and ignores unused bits.
fn lax(text: &str) -> Vec<u8> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for symbol in text.chars() {
        bits = bits << 6 | u32::try_from(ALPHABET.find(symbol).unwrap()).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    bytes
}

const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// RFC7515-C-1
#[test]
fn rejects_lengths_that_no_bytes_have() {
    let fixture = Fixture::new();
    let good = parts(&fixture.token().mint());
    for at in 0..3 {
        for length in [1, 5, 9, 13] {
            let mut changed = good.clone();
            changed[at] = "A".repeat(length);
            fixture.rejects(&changed.join("."), MalformedToken);
        }
        let mut longer = good.clone();
        while longer[at].len() % 4 != 1 {
            longer[at].push('A');
        }
        fixture.rejects(&longer.join("."), MalformedToken);
    }
}

/// Texts that are not one JSON object in UTF-8, derived from the text of one.
fn not_one_object(object: &str) -> Vec<Vec<u8>> {
    let utf16 = |text: &str| text.encode_utf16().collect::<Vec<_>>();
    let little: Vec<u8> = utf16(object).iter().flat_map(|u| u.to_le_bytes()).collect();
    let big: Vec<u8> = utf16(object).iter().flat_map(|u| u.to_be_bytes()).collect();
    let mut broken = object.as_bytes().to_vec();
    broken.splice(2..2, [0xff]);
    let mut overlong = object.as_bytes().to_vec();
    overlong.splice(2..2, [0xc0, 0xaf]);
    vec![
        Vec::new(),
        b" ".to_vec(),
        b"[]".to_vec(),
        b"null".to_vec(),
        b"1".to_vec(),
        b"true".to_vec(),
        b"\"x\"".to_vec(),
        b"{".to_vec(),
        format!("[{object}]").into_bytes(),
        format!("{object}x").into_bytes(),
        format!("{object}{object}").into_bytes(),
        format!("{object}\0").into_bytes(),
        format!("{object},").into_bytes(),
        format!("x{object}").into_bytes(),
        object.as_bytes()[..object.len() - 1].to_vec(),
        format!("\u{feff}{object}").into_bytes(),
        format!("\u{a0}{object}").into_bytes(),
        [&[0xff, 0xfe], &little[..]].concat(),
        little,
        big,
        broken,
        overlong,
    ]
}

/// RFC7515-5.2-3
#[test]
fn rejects_a_header_that_is_not_one_json_object_in_utf8() {
    let fixture = Fixture::new();
    fixture.accepts(&fixture.token().raw_header(header_with("")).mint());
    for header in not_one_object(&header_with("")) {
        fixture.rejects(&fixture.token().raw_header(header).mint(), MalformedToken);
    }
}

/// RFC7519-7.2-10
#[test]
fn rejects_a_payload_that_is_not_one_json_object_in_utf8() {
    let fixture = Fixture::new();
    fixture.accepts(&fixture.token().raw_claims(claims_with("")).mint());
    for claims in not_one_object(&claims_with("")) {
        fixture.rejects(&fixture.token().raw_claims(claims).mint(), MalformedToken);
    }
}

/// RFC7515-4-1
#[test]
fn rejects_duplicate_header_parameters_in_every_spelling() {
    let fixture = Fixture::new();
    for header in [
        r#"{"alg":"ES256","alg":"none","kid":"k1"}"#,
        r#"{"alg":"none","alg":"ES256","kid":"k1"}"#,
        r#"{"alg":"ES256","alg":"ES256","kid":"k1"}"#,
        r#"{"alg":"ES256","\u0061lg":"HS256","kid":"k1"}"#,
        r#"{"alg":"ES256","kid":"k1","kid":"k2"}"#,
        r#"{"alg":"ES256","kid":"k1","foo":1,"foo":1}"#,
        r#"{"alg":"ES256","kid":"k1","foo":{"a":1,"a":2}}"#,
        r#"{"alg":"ES256","kid":"k1","foo":[{"a":1,"\u0061":2}]}"#,
    ] {
        fixture.rejects(&fixture.token().raw_header(header).mint(), DuplicateMember);
    }
    // Another name is no duplicate, and neither is the same name in another object.
    let header = header_with(r#","Alg":1,"foo":{"alg":{"alg":1}},"bar":{"alg":2}"#);
    fixture.accepts(&fixture.token().raw_header(header).mint());
}

/// RFC7519-4-1
#[test]
fn rejects_duplicate_claims_on_every_level() {
    let fixture = Fixture::new();
    for more in [
        r#","sub":"admin""#,
        r#","\u0073ub":"admin""#,
        r#","exp":99999999999"#,
        r#","scope":"a","scope":"b""#,
        r#","cnf":{"jkt":"a","jkt":"b"}"#,
        r#","act":{"sub":"a","sub":"b"}"#,
        r#","act":{"sub":"a","act":{"sub":"b","\u0073ub":"c"}}"#,
        r#","list":[[{"a":1,"a":1}]]"#,
    ] {
        let token = fixture.token().raw_claims(claims_with(more)).mint();
        fixture.rejects(&token, DuplicateMember);
    }
    let act = r#","act":{"sub":"a","act":{"sub":"b"}},"Sub":"c""#;
    let claims = fixture.accepts(&fixture.token().raw_claims(claims_with(act)).mint());
    assert_eq!(claims.subject(), Some("subject-1"));
}

/// RFC7515-4-2
#[test]
fn ignores_header_parameters_that_it_does_not_know() {
    let fixture = Fixture::new();
    let token = fixture
        .token()
        .header("foo", 1)
        .header("https://example.com/bar", json!({"a": [null, {"b": 1.5}]}))
        .header("zip", "DEF")
        .mint();
    fixture.accepts(&token);
    // An ignored parameter is still part of what is signed.
    let [_, payload, signature] = parts(&token);
    let [header, ..] = parts(&fixture.token().mint());
    fixture.rejects(&[header, payload, signature].join("."), BadSignature);
}

/// RFC7519-4-2
#[test]
fn ignores_claims_that_it_does_not_know_and_hands_them_on() {
    let fixture = Fixture::new();
    let extra = json!({"deep": [{"er": true}], "n": 1.25});
    let token = fixture.token().claim("extra", extra.clone()).mint();
    fixture.accepts(&token);
    let verifier: Verifier<Value> = fixture.auth().verifier().claims();
    let claims = verifier.verify_now(&token).unwrap();
    assert_eq!(claims["extra"], extra);
    assert_eq!(claims["iss"], ISSUER);
}

/// RFC7515-4.1.1-1
#[test]
fn insists_on_an_algorithm_by_its_exact_name() {
    let fixture = Fixture::new();
    fixture.rejects(
        &fixture.token().without_header("alg").mint(),
        MalformedToken,
    );
    for value in [
        json!(5),
        json!(null),
        json!(["ES256"]),
        json!({}),
        json!(true),
    ] {
        fixture.rejects(&fixture.token().header("alg", value).mint(), MalformedToken);
    }
    for name in [
        "",
        "es256",
        "Es256",
        "noNE",
        " ES256",
        "ES256 ",
        "ES256\0",
        "ES",
        "ES2566",
        "ＥＳ256",
    ] {
        let token = fixture.token().header("alg", name).mint();
        fixture.rejects(&token, AlgorithmNotAllowed);
    }
    fixture.accepts(&fixture.token().header("alg", "ES256").mint());
}

/// RFC7515-4.1.11-1
#[test]
fn rejects_critical_extensions_because_it_understands_none() {
    let fixture = Fixture::new();
    for (names, parameter) in [
        (json!(["exp"]), "exp"),
        (
            json!(["http://example.com/UNDEFINED"]),
            "http://example.com/UNDEFINED",
        ),
        (json!(["foo", "bar"]), "foo"),
    ] {
        let token = fixture.token().header("crit", names).header(parameter, 1);
        fixture.rejects(&token.mint(), UnsupportedCritical);
    }
    // The same parameter is ignored if it is not in `crit`.
    fixture.accepts(&fixture.token().header("exp", 1).mint());
}

/// RFC7515-4.1.11-2
#[test]
fn rejects_an_ill_formed_list_of_critical_extensions() {
    let fixture = Fixture::new();
    for crit in [
        json!([]),
        json!("x"),
        json!(["x", "x"]),
        json!(["alg"]),
        json!(["y"]),
        json!(null),
        json!({}),
        json!([1]),
        json!([["x"]]),
        json!(false),
    ] {
        let token = fixture.token().header("crit", crit).header("x", 1);
        fixture.rejects(&token.mint(), UnsupportedCritical);
    }
    fixture.accepts(
        &fixture
            .token()
            .header("Crit", json!([]))
            .header("x", 1)
            .mint(),
    );
}

/// RFC7797-7-1
#[test]
fn rejects_an_unencoded_payload() {
    let fixture = Fixture::new();
    let critical = fixture
        .token()
        .header("b64", false)
        .header("crit", json!(["b64"]));
    fixture.rejects(&critical.mint(), UnsupportedCritical);
    for value in [
        json!(false),
        json!(null),
        json!(0),
        json!("false"),
        json!("true"),
    ] {
        fixture.rejects(&fixture.token().header("b64", value).mint(), MalformedToken);
    }
    // The default value, written out.
    fixture.accepts(&fixture.token().header("b64", true).mint());
    let critical = fixture
        .token()
        .header("b64", true)
        .header("crit", json!(["b64"]));
    fixture.rejects(&critical.mint(), UnsupportedCritical);
}

/// RFC7515-4.1.9-1
#[test]
fn compares_types_without_case_and_without_their_prefix() {
    let fixture = Fixture::new();
    let strict = fixture.auth().access_token_profile().verifier();
    for typ in [
        "at+jwt",
        "AT+JWT",
        "at+JWT",
        "application/at+jwt",
        "APPLICATION/AT+JWT",
    ] {
        let token = fixture.token().header("typ", typ).mint();
        assert!(strict.verify_now(&token).is_ok(), "{typ}");
        fixture.accepts(&token);
    }
    for typ in ["JWT", "jwt", "application/JWT", "application/jwt"] {
        let token = fixture.token().header("typ", typ).mint();
        let rejected = strict.verify_now(&token).unwrap_err();
        assert_eq!(rejected.kind(), WrongType, "{typ}");
        fixture.accepts(&token);
    }
    for typ in [
        "",
        "text/at+jwt",
        "text/jwt",
        "at+jwt;x=1",
        "application/at+jwt; charset=utf-8",
        "application/application/at+jwt",
        "application/",
        "/at+jwt",
        " at+jwt",
        "at+jwt ",
        "at jwt",
        "dpop+jwt",
        "JOSE",
    ] {
        fixture.rejects(&fixture.token().header("typ", typ).mint(), WrongType);
    }
    for typ in [json!(1), json!(null), json!(["at+jwt"])] {
        fixture.rejects(&fixture.token().header("typ", typ).mint(), MalformedToken);
    }
}

/// RFC7515-4.1.4-1
#[test]
fn takes_key_ids_as_exact_strings() {
    let fixture = Fixture::new();
    for id in [
        json!(1),
        json!(null),
        json!(["k1"]),
        json!({"k1": 1}),
        json!(true),
    ] {
        fixture.rejects(&fixture.token().header("kid", id).mint(), MalformedToken);
    }
    for id in ["K1", " k1", "k1 ", "k1\0", "k1\n", "k", "k11", "ｋ1"] {
        fixture.rejects(&fixture.token().header("kid", id).mint(), UnknownKey);
    }
    fixture.accepts(&fixture.token().header("kid", "k1").mint());
    // An empty id names no key, as in a JWK.
    fixture.accepts(&fixture.token().header("kid", "").mint());
}

/// RFC7515-5.2-8
#[test]
fn checks_the_signature_over_the_bytes_that_came() {
    let fixture = Fixture::new();
    let header = " {\r\n\t\"typ\" : \"\\u0061t+jwt\" ,\n  \"kid\":\"k1\",\"alg\" :\t\"ES256\" } \n";
    let claims = format!(
        "\n{{  \"x\" : 1.50e0 , {} }}\r\n",
        good_claims().replace(':', " : ")
    );
    let claims = claims.replace("https : ", "https:");
    let odd = fixture
        .token()
        .raw_header(header)
        .raw_claims(&claims)
        .mint();
    fixture.accepts(&odd);

    // The same values in another layout are other bytes.
    let tidy = |part: &str| {
        let value: Value = serde_json::from_str(part).unwrap();
        URL_SAFE_NO_PAD.encode(value.to_string())
    };
    let [odd_header, odd_claims, signature] = parts(&odd);
    for [header, claims] in [
        [tidy(header), odd_claims],
        [odd_header, tidy(&claims)],
        [tidy(header), tidy(&claims)],
    ] {
        fixture.rejects(&format!("{header}.{claims}.{signature}"), BadSignature);
    }
}

/// RFC7515-5.2-D1
#[tokio::test]
async fn rejects_an_empty_signature_by_its_shape() {
    let fixture = Fixture::new();
    for id in ["k1", "k2", "h1", "e1"] {
        let [header, payload, _] = parts(&fixture.token_of(id).mint());
        let token = format!("{header}.{payload}.");
        fixture.rejects(&token, MalformedToken);
        answers(&fixture, &token, StatusCode::UNAUTHORIZED).await;
        // A single byte is a signature, although a bad one.
        fixture.rejects(&format!("{header}.{payload}.AA"), BadSignature);
    }
}

/// RFC7515-5.3-1
#[test]
fn compares_names_and_values_as_code_points() {
    let fixture = Fixture::new();
    let composed = "https://as.example/\u{e9}";
    let decomposed = "https://as.example/e\u{301}";
    let auth = JwtAuth::new(
        Issuer::new(composed).unwrap(),
        Audience::new("\u{e9}-api").unwrap(),
        KeySet::new([fixture.signer("k1").key().with_key_id("\u{e9}")]).unwrap(),
    )
    .clock(fixture.clock.clone());
    let verifier = auth.verifier();
    let token = || {
        fixture
            .token()
            .issuer(composed)
            .audience("\u{e9}-api")
            .header("kid", "\u{e9}")
            .scope("caf\u{e9}:read")
    };
    let rejects = |token: String, kind| {
        let rejected = verifier
            .verify_now(&token)
            .expect_err("the token was accepted");
        assert_eq!(rejected.kind(), kind, "{rejected}");
    };

    let claims = verifier.verify_now(&token().mint()).unwrap();
    assert!(claims.scopes().contains("caf\u{e9}:read"));
    for other in [
        "cafe\u{301}:read",
        "CAF\u{c9}:read",
        "caf\u{e9}:Read",
        "caf\u{e9}",
    ] {
        assert!(!claims.scopes().contains(other), "{other}");
    }
    for issuer in [
        decomposed,
        "https://AS.example/\u{e9}",
        "https://as.example/\u{e9}/",
    ] {
        rejects(token().issuer(issuer).mint(), IssuerMismatch);
    }
    rejects(
        token().issuer(&format!(" {composed}")).mint(),
        IssuerMismatch,
    );
    rejects(
        token().issuer(&format!("{composed}\0")).mint(),
        IssuerMismatch,
    );
    for audience in ["e\u{301}-api", "\u{c9}-api", "\u{e9}-api "] {
        rejects(token().audience(audience).mint(), AudienceMismatch);
    }
    for id in ["e\u{301}", "\u{c9}"] {
        rejects(token().header("kid", id).mint(), UnknownKey);
    }
}

/// RFC7515-5.3-1
#[test]
fn resolves_escapes_before_it_compares() {
    let fixture = Fixture::new();
    let header = r#"{"\u0061lg":"\u0045S256","k\u0069d":"\u006b1","typ":"a\u0074\u002bjwt"}"#;
    let claims = claims_with("")
        .replace("\"iss\"", r#""\u0069ss""#)
        .replace("https://as.example", r"https:\/\/\u0061s.example");
    let claims = fixture.accepts(&fixture.token().raw_header(header).raw_claims(claims).mint());
    assert_eq!(claims.issuer(), ISSUER);

    // Only the escapes of JSON are resolved. Percent encoding is another text.
    let claims = claims_with("").replace("https://as.example", "https://%61s.example");
    fixture.rejects(&fixture.token().raw_claims(claims).mint(), IssuerMismatch);
}

/// RFC7515-10.12-1
#[test]
fn rejects_everything_that_only_resembles_json() {
    let fixture = Fixture::new();
    for more in [
        ",",
        r#","x":1,"#,
        r#",,"x":1"#,
        r#","x":1 /* comment */"#,
        ",\"x\":1 // comment\n",
        ",\"x\":1 # comment\n",
        r#","x":NaN"#,
        r#","x":Infinity"#,
        r#","x":-Infinity"#,
        r#","x":undefined"#,
        r#","x":True"#,
        r#","x":nul"#,
        r#","x":'y'"#,
        r#",'x':1"#,
        r#",x:1"#,
        r#","x":+1"#,
        r#","x":01"#,
        r#","x":-01"#,
        r#","x":0x10"#,
        r#","x":.5"#,
        r#","x":1."#,
        r#","x":1e"#,
        r#","x":1_000"#,
        r#","x":--1"#,
        r#","x":[1,]"#,
        r#","x":[1 2]"#,
        r#","x":[1"#,
        r#","x":{"y":1,}"#,
        r#","x" 1"#,
        r#","x"=1"#,
        r#","x""#,
        r#","x":"#,
        r#","x":"\x41""#,
        r#","x":"\'""#,
        r#","x":"\u12""#,
        r#","x":"\u12G4""#,
        r#","x":"\U00000041""#,
        ",\"x\":\"a\nb\"",
        ",\"x\":\"a\tb\"",
        ",\"x\":\"a\0b\"",
        ",\"x\":\u{a0}1",
        ",\"x\":\u{c}1",
        r#","x":"y"#,
        r#" "x":1"#,
    ] {
        let header = fixture.token().raw_header(header_with(more)).mint();
        fixture.rejects(&header, MalformedToken);
        let claims = fixture.token().raw_claims(claims_with(more)).mint();
        fixture.rejects(&claims, MalformedToken);
    }
    for more in [
        "",
        r#","x":-0.5E+10"#,
        ",\"x\"\t:\r\n[ ]",
        r#","":"\"\\\/\b\f\n\r\t\u0000""#,
    ] {
        fixture.accepts(&fixture.token().raw_header(header_with(more)).mint());
        fixture.accepts(&fixture.token().raw_claims(claims_with(more)).mint());
    }
}

/// RFC7515-10.13-1
#[test]
fn keeps_characters_outside_of_the_basic_plane_and_rejects_halves_of_them() {
    let fixture = Fixture::new();
    for half in [
        r"\ud800",
        r"\udfff",
        r"\udbff",
        r"\ud800\ud800",
        r"\udc00\ud800",
        r"\ud800x\udc00",
        r"\ud800\u0041",
        r"\ud800\n",
    ] {
        for more in [
            format!(r#","x":"{half}""#),
            format!(r#","{half}":1"#),
            format!(r#","x":[{{"y":"{half}"}}]"#),
        ] {
            let header = fixture.token().raw_header(header_with(&more)).mint();
            fixture.rejects(&header, MalformedToken);
            let claims = fixture.token().raw_claims(claims_with(&more)).mint();
            fixture.rejects(&claims, MalformedToken);
        }
    }

    let verifier: Verifier<Value> = fixture.auth().verifier().claims();
    for smile in ["😀", r"\ud83d\ude00", r"\uD83D\uDE00"] {
        let claims = claims_with(&format!(r#","name":"a{smile}b""#))
            .replace("subject-1", &format!("{smile}-1"));
        let token = fixture.token().raw_claims(claims).mint();
        let claims = verifier.verify_now(&token).unwrap();
        assert_eq!(claims.subject(), Some("😀-1"));
        assert_eq!(claims["name"], "a😀b");
    }
}

/// RFC7519-7.2-1
#[tokio::test]
async fn no_claims_of_a_rejected_token_reach_the_service() {
    let fixture = Fixture::new();
    let (response, seen) = send(&fixture.auth(), get(&fixture.token().mint())).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(seen.requests()[0].extensions.get::<Claims>().is_some());

    for (token, kind) in [
        (fixture.token().expired().mint(), Expired),
        (fixture.token().tampered().mint(), BadSignature),
        (fixture.token().without("exp").mint(), MissingClaim),
    ] {
        for layer in [fixture.auth(), fixture.auth().optional()] {
            let (response, seen) = send(&layer, get(&token)).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
            assert_eq!(seen.count(), 0);
            assert!(response.extensions().get::<Claims>().is_none());
            let rejection = response.extensions().get::<Rejection>().unwrap();
            assert_eq!(rejection.kind(), kind);
        }
    }
}

/// RFC7519-7.2-8
#[test]
fn rejects_a_token_within_a_token() {
    let fixture = Fixture::new();
    for cty in ["JWT", "jwt", "application/jwt", "Application/JWT"] {
        fixture.rejects(&fixture.token().header("cty", cty).mint(), WrongType);
        // As the standard says: the payload is the inner token.
        let nested = fixture
            .token()
            .header("cty", cty)
            .raw_claims(fixture.token().mint());
        fixture.rejects(&nested.mint(), WrongType);
    }
    fixture.rejects(&fixture.token().header("cty", 1).mint(), MalformedToken);
    let unmarked = fixture.token().raw_claims(fixture.token().mint());
    fixture.rejects(&unmarked.mint(), MalformedToken);
    fixture.accepts(&fixture.token().header("cty", "json").mint());
}

/// RFC7519-5.3-1
#[test]
fn rejects_replicated_claims_that_differ() {
    let fixture = Fixture::new();
    let token = || {
        fixture
            .token()
            .header("iss", ISSUER)
            .header("sub", "subject-1")
            .header("aud", AUDIENCE)
    };
    fixture.accepts(&token().mint());
    let several = json!([AUDIENCE, "x"]);
    let both = token().claim("aud", several.clone()).header("aud", several);
    fixture.accepts(&both.mint());

    for (name, value) in [
        ("iss", json!("https://other.example")),
        ("sub", json!("admin")),
        ("aud", json!("https://other.example")),
        ("aud", json!([AUDIENCE, "x"])),
    ] {
        fixture.rejects(&token().header(name, value).mint(), InvalidClaim);
    }
    fixture.rejects(&token().without("sub").mint(), InvalidClaim);
    // An empty value differs from an absent claim.
    for (name, empty) in [("iss", json!("")), ("aud", json!([]))] {
        let token = fixture.token().without(name).header(name, empty);
        fixture.rejects(&token.mint(), InvalidClaim);
    }
    // The subject is an exception: an empty one counts as absent in both places.
    let empty = || fixture.token().header("sub", "");
    fixture.accepts(&empty().without("sub").mint());
    fixture.accepts(&empty().claim("sub", "").mint());
    fixture.rejects(&empty().mint(), InvalidClaim);
    for name in ["iss", "sub", "aud"] {
        fixture.rejects(&token().header(name, 1).mint(), MalformedToken);
    }
}

/// RFC8725bis-3.14-1
#[tokio::test]
async fn rejects_every_serialization_but_the_compact_one() {
    let fixture = Fixture::new();
    let good = fixture.token().mint();
    let [protected, payload, signature] = parts(&good);
    let flattened = json!({"payload": payload, "protected": protected, "signature": signature});
    let general = json!({
        "payload": payload,
        "signatures": [{"protected": protected, "signature": signature}],
    });
    for token in [
        flattened.to_string(),
        general.to_string(),
        format!("\"{good}\""),
        format!("'{good}'"),
        format!("{{{good}}}"),
        format!("[{good}]"),
        format!("{good},{good}"),
        format!("{good};"),
    ] {
        fixture.rejects(&token, MalformedToken);
        answers(&fixture, &token, StatusCode::BAD_REQUEST).await;
    }
    // Legal in a credential, but not in a JWT: the disclosures of SD-JWT, and the standard alphabet
    // of base64.
    for token in [
        format!("{good}~"),
        format!("{good}~WyJhIl0~"),
        format!("{good}+"),
        format!("/{good}"),
    ] {
        fixture.rejects(&token, MalformedToken);
        answers(&fixture, &token, StatusCode::UNAUTHORIZED).await;
    }
    let (response, _) = send(&fixture.auth(), get_with(format!("Bearer {good}"))).await;
    assert_eq!(response.status(), StatusCode::OK);
}

/// PARSE-D1
#[test]
fn bounds_depth_members_numbers_and_size() {
    let fixture = Fixture::new();
    let nested = |depth: usize| format!(r#","x":{}1{}"#, "[".repeat(depth), "]".repeat(depth));
    let objects =
        |depth: usize| format!(r#","x":{}1{}"#, r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let members = |count: usize| {
        let members: Vec<_> = (0..count).map(|n| format!(r#""{n:x}":0"#)).collect();
        format!(r#","x":{{{}}}"#, members.join(","))
    };
    let number = |digits: usize| format!(r#","x":{}"#, "1".repeat(digits));
    for more in [
        nested(20),
        objects(20),
        members(900),
        number(60),
        r#","x":1e300"#.into(),
    ] {
        fixture.accepts(&fixture.token().raw_claims(claims_with(&more)).mint());
    }
    let unclosed = format!(r#","x":{}"#, "[".repeat(10_000));
    for more in [
        nested(100),
        nested(5_000),
        unclosed,
        objects(100),
        objects(1_900),
        members(1_100),
        number(100),
        number(10_000),
        r#","x":1e400"#.into(),
        r#","x":-1e400"#.into(),
    ] {
        let claims = fixture.token().raw_claims(claims_with(&more)).mint();
        assert!(
            claims.len() <= 16 * 1024,
            "the size is not what is tested here"
        );
        fixture.rejects(&claims, MalformedToken);
        let header = fixture.token().raw_header(header_with(&more)).mint();
        fixture.rejects(&header, MalformedToken);
    }

    let filled = |length: usize| {
        let more = format!(r#","x":"{}""#, "y".repeat(length));
        fixture.token().raw_claims(claims_with(&more)).mint()
    };
    assert!(filled(11_500).len() < 16 * 1024);
    fixture.accepts(&filled(11_500));
    for length in [12_200, 1_000_000] {
        assert!(filled(length).len() > 16 * 1024);
        fixture.rejects(&filled(length), MalformedToken);
    }
    for text in [".", "a", "{", "a.a.a.", "\u{e9}"] {
        fixture.rejects(&text.repeat(2_000_000), MalformedToken);
    }
}

/// PARSE-D2
#[test]
fn puts_no_part_of_a_token_into_an_error() {
    let fixture = Fixture::new();
    let token = || {
        fixture
            .token()
            .subject("somebody-private")
            .claim("card", "4111111111111111")
    };
    let good = token().mint();
    let [header, payload, signature] = parts(&good);
    let rejected = [
        token().expired().mint(),
        token().not_yet_valid().mint(),
        token().tampered().mint(),
        token().signed_by_stranger().mint(),
        token().unsigned().mint(),
        token().audience("other").mint(),
        token().issuer("https://other.example").mint(),
        token().header("alg", "none").mint(),
        token().header("kid", "other").mint(),
        token().header("typ", "dpop+jwt").mint(),
        token().header("crit", json!(["x"])).mint(),
        token().without("exp").mint(),
        token().claim("exp", "x").mint(),
        token().claim("nbf", "x").mint(),
        token()
            .raw_claims(claims_with(r#","sub":"somebody-private""#))
            .mint(),
        token().raw_claims(r#"{"sub":"somebody-private"#).mint(),
        good.replacen('.', "..", 1),
        format!("{header}.{payload}."),
        format!("{header}.{payload}"),
        format!("{header}.{payload}.{signature}="),
        format!("{header}.{payload}.{signature}.{signature}.{payload}"),
    ];
    let mut kinds = std::collections::HashSet::new();
    for token in rejected {
        let rejection = fixture.verify(&token).expect_err("the token was accepted");
        kinds.insert(rejection.kind());
        let told = format!("{rejection} {rejection:?} {}", rejection.client_text());
        assert!(!told.contains("somebody-private"), "{told}");
        assert!(!told.contains("4111"), "{told}");
        for part in token.split('.') {
            for window in part.as_bytes().windows(10) {
                let window = std::str::from_utf8(window).unwrap();
                assert!(!told.contains(window), "{window} in {told}");
            }
        }
    }
    assert!(kinds.len() >= 12, "{kinds:?}");

    // Claims that do not fit the own claims type are not quoted either.
    #[derive(Debug, serde::Deserialize)]
    struct Typed {
        #[expect(dead_code, reason = "never deserialized")]
        card: u8,
    }
    let verifier: Verifier<Typed> = fixture.auth().verifier().claims();
    let rejected = verifier.verify_now(&good).unwrap_err();
    assert_eq!(rejected.kind(), InvalidClaim);
    assert!(
        !format!("{rejected} {rejected:?}").contains("4111"),
        "{rejected}"
    );
}

/// PARSE-D2
#[test]
fn there_is_no_public_way_around_the_signature() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut weakened = 0;
    for (path, text) in sources(&root) {
        let lines: Vec<_> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let Some(name) = public_function(line) else {
                continue;
            };
            for word in [
                "decode",
                "unverified",
                "unchecked",
                "untrusted",
                "skip_",
                "disable",
                "dangerous",
            ] {
                assert!(
                    !name.contains(word),
                    "{}: `{name}` is public",
                    path.display()
                );
            }
            if name.starts_with("insecure_") {
                weakened += 1;
                let docs = lines[..at].iter().rev().take_while(|line| {
                    let line = line.trim_start();
                    line.starts_with("///") || line.starts_with("#[")
                });
                let says = docs.into_iter().any(|line| line.contains("# Security"));
                assert!(
                    says,
                    "{}: `{name}` does not say what it risks",
                    path.display()
                );
            }
            assert!(
                !(name.contains("signature") && name.starts_with("insecure_")),
                "{}: `{name}`",
                path.display()
            );
        }
    }
    assert!(weakened >= 4, "the search found nothing: {weakened}");
}

/// The name of a public function that this line declares.
fn public_function(line: &str) -> Option<&str> {
    let line = line.trim_start().strip_prefix("pub ")?;
    let line = line
        .trim_start_matches("const ")
        .trim_start_matches("async ");
    line.strip_prefix("fn ")?.split(['(', '<']).next()
}

fn sources(directory: &std::path::Path) -> Vec<(std::path::PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

/// The same for tokens of other algorithms: nothing in this file depends on ES256.
#[test]
fn rejects_bad_shapes_under_every_algorithm() {
    for algorithm in Algorithm::ALL {
        let issuer = TestIssuer::with_algorithm(*algorithm);
        let verifier = issuer.auth().verifier();
        assert!(
            verifier.verify_now(&issuer.token().mint()).is_ok(),
            "{algorithm}"
        );
        let kind = |token: String| verifier.verify_now(&token).unwrap_err().kind();
        assert_eq!(
            kind(issuer.token().mint() + "="),
            MalformedToken,
            "{algorithm}"
        );
        assert_eq!(
            kind(issuer.token().tampered().mint()),
            BadSignature,
            "{algorithm}"
        );
        let critical = issuer.token().header("crit", json!(["x"]));
        assert_eq!(kind(critical.mint()), UnsupportedCritical, "{algorithm}");
    }
}
