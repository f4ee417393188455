//! Property tests of the private parsers, with input that is almost valid: for the oracles of
//! [`crate::checks::fuzz`], and with expectations that only the generator has.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;
use serde_json::{Map, Value};

use crate::checks::fuzz;
use crate::clock::NumericDate;
use crate::json::{JsonError, MAX_DEPTH, MAX_MEMBERS, read_object};
use crate::request;
use crate::request::{CsrfPolicy, TokenCookie, TokenSource};
use crate::token::limits::MaxTokenSize;
use crate::token::names;
use crate::token::pointer::ClaimPointer;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 256,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(7_519),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn authorization_is_read_by_the_grammar(
        value in "[ \t]{0,2}(Bearer|bearer|BEARER|Basic|DPoP|Bearer1|B|)[ \t]{0,3}[!-~\u{e4}]{0,12}[ =]{0,2}"
    ) {
        fuzz::authorization(value.as_bytes());
    }

    #[test]
    fn any_bytes_are_an_authorization_or_are_rejected(value in vec(any::<u8>(), 0..64)) {
        fuzz::authorization(&value);
    }

    #[test]
    fn a_bearer_token_is_found_in_every_spelling_of_its_scheme(
        scheme in "[Bb][Ee][Aa][Rr][Ee][Rr]", space in " {1,4}", token in "[A-Za-z0-9._~+/-]{1,40}={0,2}"
    ) {
        let value = format!("{scheme}{space}{token}");
        let found = request::parse_authorization(value.as_bytes(), MaxTokenSize::default()).unwrap().unwrap();
        prop_assert!(found.flaw().is_none());
        prop_assert_eq!(found.bytes(), token.as_bytes());
    }

    #[test]
    fn two_words_are_never_one_token(first in "[A-Za-z0-9._-]{1,20}", gap in "[ \t,;]", second in "[A-Za-z0-9._-]{1,20}") {
        let value = format!("Bearer {first}{gap}{second}");
        let found = request::parse_authorization(value.as_bytes(), MaxTokenSize::default()).unwrap().unwrap();
        prop_assert!(found.flaw().is_some());
    }

    #[test]
    fn requests_are_read_as_another_reader_reads_them(
        query in "((access_token|%61ccess_token|a|access_token%3D)=?[a-z0-9%.&=]{0,12}&?){0,3}",
        cookie in "(__Host-token=[a-z.=;]{0,8}; ?|x=y;? ?){0,3}",
        authorization in option::of("(Bearer|Basic) [a-z]{0,3}"),
        method in select(vec!["", "GET", "POST", "HEAD"]),
    ) {
        let authorization = authorization.unwrap_or_default();
        fuzz::request(format!("{query}\n{cookie}\n{authorization}\n{method}").as_bytes());
    }

    #[test]
    fn a_token_in_the_query_survives_percent_encoding(token in "[A-Za-z0-9._~+/-]{1,40}", encoded in vec(any::<bool>(), 40)) {
        let value: String = token.bytes().zip(encoded).map(|(byte, is_encoded)| {
            if is_encoded { format!("%{byte:02x}") } else { char::from(byte).to_string() }
        }).collect();
        let request = http::Request::get(format!("/?x=1&access_token={value}&y=%zz")).body(()).unwrap();
        let source = TokenSource::header().insecure_with_query();
        let found = request::read(&request, &source, MaxTokenSize::default(), None).unwrap().unwrap();
        prop_assert_eq!(found.token(), token.as_bytes());
        prop_assert!(request::read(&request, &TokenSource::header(), MaxTokenSize::default(), None).unwrap().is_none());
    }

    #[test]
    fn a_broken_percent_encoding_is_rejected(before in "[a-z]{0,5}", broken in "%([g-z!][0-9a-f]|[0-9a-f][g-z!]|[0-9a-f]?|\\+1|-1)", after in "(&[a-z]{0,5})?") {
        let request = http::Request::get(format!("/?access_token={before}{broken}{after}")).body(()).unwrap();
        prop_assert!(request::read(&request, &TokenSource::header().insecure_with_query(), MaxTokenSize::default(), None).is_err());
    }

    #[test]
    fn a_token_cookie_is_found_among_others(token in "[A-Za-z0-9._-]{1,40}", before in "([a-z]{1,5}=[a-z\"]{0,5}; ){0,3}", after in "(; [a-z]{1,5}=?[a-z]{0,5}){0,3}") {
        let cookie = TokenCookie::new("__Host-t", CsrfPolicy::same_origin()).unwrap();
        let source = TokenSource::header().with_cookie(cookie);
        let with = |line: String| http::Request::get("/").header("cookie", line).body(()).unwrap();
        let request = with(format!("{before}__Host-t={token}{after}"));
        let found = request::read(&request, &source, MaxTokenSize::default(), None).unwrap().unwrap();
        prop_assert_eq!(found.token(), token.as_bytes());
        let twice = with(format!("{before}__Host-t={token}; __Host-t={token}{after}"));
        prop_assert!(request::read(&twice, &source, MaxTokenSize::default(), None).is_err());
        let other = with(format!("{before}__host-t={token}{after}"));
        prop_assert!(request::read(&other, &source, MaxTokenSize::default(), None).unwrap().is_none());
    }

    #[test]
    fn json_means_what_another_reader_says(document in document()) {
        prop_assert!(read_object(&document, MAX_MEMBERS, |_, _| {}).is_ok(), "{}", document);
        fuzz::json(document.as_bytes());
    }

    #[test]
    fn broken_json_is_rejected_by_both_readers(document in document(), edits in edits()) {
        fuzz::json(&edited(document.as_bytes(), &edits));
    }

    #[test]
    fn fragments_of_json_are_judged_alike_by_both_readers(
        soup in "\\{(\"[a-c\\\\u0-9dD\"]{0,4}|[\\[\\]{}:, \t\n]|[-+0-9.eE]{1,5}|true|false|null){0,12}\\}"
    ) {
        fuzz::json(soup.as_bytes());
    }

    #[test]
    fn numbers_are_judged_alike_by_both_readers(number in "-?[0-9]{0,3}(\\.[0-9]{0,3})?([eE][+-]?[0-9]{0,3})?") {
        fuzz::json(format!("{{\"n\":{number}}}").as_bytes());
    }

    #[test]
    fn strings_are_judged_alike_by_both_readers(
        parts in vec(select(STRING_PARTS.to_vec()), 0..4)
    ) {
        fuzz::json(format!("{{\"s\":\"{}\"}}", parts.concat()).as_bytes());
    }

    #[test]
    fn a_name_twice_in_one_object_is_rejected_at_any_depth(depth in 0..MAX_DEPTH - 2, name in "[a-z]{1,4}", between in "(\"[A-Z]{1,3}\":0,)?") {
        let inner = format!("{{\"{name}\":1,{between}\"{name}\":2}}");
        let text = format!("{}{inner}{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        prop_assert_eq!(read_object(&text, MAX_MEMBERS, |_, _| {}), Err(JsonError::Duplicate(name)));
    }

    #[test]
    fn tokens_are_taken_apart_as_another_reader_does(header in header(), claims in document(), edits in edits()) {
        fuzz::header(header.as_bytes());
        fuzz::header(&edited(header.as_bytes(), &edits));
        fuzz::claims(claims.as_bytes());
    }

    #[test]
    fn any_text_is_a_token_or_is_rejected(text in "[A-Za-z0-9_-]{0,20}(\\.[A-Za-z0-9_=-]{0,20}){0,5}") {
        fuzz::compact(text.as_bytes());
        fuzz::verifier(text.as_bytes());
    }

    #[test]
    fn an_edited_token_is_rejected(edits in edits()) {
        for (_, token) in fuzz::tokens() {
            let edited = edited(token.as_bytes(), &edits);
            fuzz::compact(&edited);
            fuzz::verifier(&edited);
            let is_same = edited == token.as_bytes();
            let text = String::from_utf8_lossy(&edited);
            prop_assert_eq!(fuzz::verify(&text).is_ok(), is_same, "{}", text);
        }
    }

    #[test]
    fn scopes_keep_their_order_and_lose_repetition(text in "[ab]{0,2}( {0,2}[ab\u{e4}\t]{0,2}){0,8}") {
        fuzz::scopes(text.as_bytes());
        let names = |text: &str| names::granted(&Value::from(text).to_string());
        let again = names(&text).join(" ");
        prop_assert_eq!(names(&again), names(&text));
    }

    #[test]
    fn pointers_are_read_as_they_are_written(names in vec("[a~/1 0\u{e4}]{0,5}", 1..5)) {
        let escape = |name: &String| format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        let text: String = names.iter().map(escape).collect();
        let pointer = ClaimPointer::new(&text).unwrap();
        prop_assert_eq!(pointer.names(), names);
    }

    #[test]
    fn a_tilde_that_escapes_nothing_is_rejected(before in "/([a-b/01]|~[01]){0,4}", after in "([a-b/2]([a-b/01]|~[01]){0,4})?|~[01]{1,3}") {
        prop_assert!(ClaimPointer::new(&before).is_ok());
        let broken = format!("{before}~{after}");
        prop_assert!(ClaimPointer::new(&broken).is_err(), "{}", broken);
    }

    #[test]
    fn settings_are_usable_or_rejected_with_a_sentence(text in "([!-~\u{0}-\u{1f}\u{e4}]|__Host-|https://|:[0-9]{1,5}|/|~[01]?){0,12}") {
        fuzz::settings(text.as_bytes());
    }

    #[test]
    fn every_time_has_a_place_in_the_calendar(first in any::<f64>(), second in any::<f64>()) {
        fuzz::dates(&[first.to_le_bytes(), second.to_le_bytes()].concat());
    }

    #[test]
    fn times_are_kept_to_the_microsecond(at in 0.0..4e9_f64, later in 0.0..4e9_f64) {
        fuzz::dates(&[at.to_le_bytes(), later.to_le_bytes()].concat());
        let text = format!("{{\"exp\":{at}}}");
        let mut read = None;
        read_object(&text, MAX_MEMBERS, |_, value| read = value.number()).unwrap();
        prop_assert_eq!(read, Some(at));
        prop_assert!(NumericDate(at) <= NumericDate(at).plus(std::time::Duration::from_secs(1)));
    }
}

/// Otherwise the tests above would pass with a verifier that rejects everything.
#[test]
fn the_verifier_of_the_oracles_accepts_good_tokens() {
    for (name, token) in fuzz::tokens() {
        assert!(fuzz::verify(&token).is_ok(), "{name}");
    }
}

/// Parts of strings, most of which are valid alone.
const STRING_PARTS: [&str; 18] = [
    "a",
    "\u{e4}",
    "\u{1f600}",
    "\u{7f}",
    "\\\"",
    "\\\\",
    "\\/",
    "\\b",
    "\\n",
    "\\u00e4",
    "\\u0000",
    "\\ud83d",
    "\\uDE00",
    "\\udbff\\udfff",
    "\\uD83D\\u0041",
    "\\x",
    "\\u12",
    "\u{1f}",
];

/// A JSON object as text, with white space and escapes of every kind. Names are different within
/// an object, and nothing is beyond the limits.
fn document() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e300..1e300_f64).prop_map(Value::from),
        (-1e10..1e10_f64).prop_map(Value::from),
        "[ -~\n\u{e4}\u{1f600}\u{2028}]{0,8}".prop_map(Value::from),
    ];
    let tree = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec(("[a-f\"\\\\\u{e4}]{0,3}", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    let names = select(vec!["iss", "aud", "exp", "scope", "x", "resource_access"]);
    let members = vec((names, tree), 0..5);
    (members, vec(any::<Index>(), 32)).prop_map(|(members, style)| {
        let members: Map<String, Value> = members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let mut text = String::new();
        let mut style = style.iter().cycle();
        write(&Value::Object(members), &mut text, &mut |count| {
            style.next().map_or(0, |index| index.index(count))
        });
        text
    })
}

/// Writes a value with the white space and the escapes that `choose` chooses.
fn write(value: &Value, text: &mut String, choose: &mut dyn FnMut(usize) -> usize) {
    let space = |text: &mut String, choose: &mut dyn FnMut(usize) -> usize| {
        text.push_str(["", "", "", " ", "\n\t", "\r "][choose(6)]);
    };
    space(text, choose);
    match value {
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "," });
                write(item, text, choose);
            }
            if items.is_empty() {
                space(text, choose);
            }
            text.push(']');
        }
        Value::Object(members) => {
            text.push('{');
            for (at, (name, member)) in members.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "," });
                space(text, choose);
                write_string(name, text, choose);
                space(text, choose);
                text.push(':');
                write(member, text, choose);
            }
            if members.is_empty() {
                space(text, choose);
            }
            text.push('}');
        }
        Value::String(string) => write_string(string, text, choose),
        other => text.push_str(&other.to_string()),
    }
    space(text, choose);
}

fn write_string(string: &str, text: &mut String, choose: &mut dyn FnMut(usize) -> usize) {
    text.push('"');
    for char in string.chars() {
        if choose(8) == 0 {
            for unit in char.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            let quoted = Value::from(char.to_string()).to_string();
            text.push_str(&quoted[1..quoted.len() - 1]);
        }
    }
    text.push('"');
}

/// A header that is often valid.
fn header() -> impl Strategy<Value = String> {
    let string = || {
        select(vec![
            "\"HS256\"",
            "\"none\"",
            "\"JWT\"",
            "\"at+jwt\"",
            "\"k\"",
            "1",
            "null",
            "[]",
            "true",
        ])
    };
    let name = select(vec![
        "alg", "kid", "typ", "cty", "b64", "crit", "iss", "aud", "jwk", "x",
    ]);
    (option::weighted(0.9, string()), vec((name, string()), 0..3)).prop_map(|(alg, others)| {
        let alg = alg.map(|alg| format!("\"alg\":{alg}"));
        let others = others
            .iter()
            .map(|(name, value)| format!("\"{name}\":{value}"));
        let members: Vec<_> = alg.into_iter().chain(others).collect();
        format!("{{{}}}", members.join(","))
    })
}

/// Small changes: where, how, and with which byte.
fn edits() -> impl Strategy<Value = Vec<(Index, u8, u8)>> {
    let byte = prop_oneof![select(b"{}[]\",:\\.-eE0u \n".to_vec()), any::<u8>(),];
    vec((any::<Index>(), 0..3_u8, byte), 1..4)
}

fn edited(bytes: &[u8], edits: &[(Index, u8, u8)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (index, how, byte) in edits {
        let at = index.index(bytes.len() + 1);
        match how {
            0 => bytes.insert(at, *byte),
            1 if at < bytes.len() => bytes[at] = *byte,
            2 if at < bytes.len() => drop(bytes.remove(at)),
            _ => bytes.push(*byte),
        }
    }
    bytes
}
