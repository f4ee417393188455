//! Own claims, from the members that the reader has found.
//!
//! A type names a few of the claims, so most of the payload need not be read a second time for
//! it. `serde_json` still reads each value that is asked for, and the whole payload where a type
//! is no structure or map, and to say what is wrong.

use std::cell::Cell;

use serde::de::value::{BorrowedStrDeserializer, SeqDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor,
};
use serde_json::Error;

use crate::claims::weight;
use crate::error::rejection::Excerpt;
use crate::json::Raw;
use crate::token::registered::Registered;

/// Deserializes own claims, and says how many bytes they take up, by what they have read.
pub(crate) fn deserialize<C: DeserializeOwned>(claims: &Registered) -> Result<(C, usize), Error> {
    let bytes = Bytes(Cell::new(weight::of_type::<C>()));
    let own = C::deserialize(Payload(claims, &bytes)).or_else(|_| {
        // The second reading decides: its errors count lines and columns of the whole payload.
        bytes.add(weight::of_json(claims.payload()));
        serde_json::from_str(claims.payload())
    })?;
    Ok((own, bytes.0.get()))
}

/// Deserializes one value.
pub(crate) fn value<D: DeserializeOwned>(value: Raw<'_>) -> Option<D> {
    D::deserialize(Value(value, &Bytes(Cell::new(0)))).ok()
}

/// Why own claims do not fit: the claim and the category, without any value. Messages of the
/// deserializer quote values, and those of a user's own type may say anything.
pub(crate) fn reason(error: &Error, claims: &Registered) -> String {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let category = category(message.strip_suffix(&place).unwrap_or(&message));
    match claim_at(error, claims) {
        Some(name) => format!("claim {}: {category}", Excerpt(name)),
        None => category,
    }
}

/// What the deserializer says in its own words. A message in any other words is one of a user's own
/// type.
fn category(message: &str) -> String {
    // These name a field of the type, and no value.
    let names_a_field = ["missing field `", "duplicate field `"]
        .iter()
        .any(|form| message.starts_with(form));
    if names_a_field && message.ends_with('`') && message.split('`').count() == 3 {
        return message.to_owned();
    }
    let form = FORMS.into_iter().find(|form| message.starts_with(form));
    let category = form.map(|form| form.trim_end_matches([' ', ':', '`']));
    match category {
        // What is expected stands behind the value, and is the type's own sentence.
        Some(category) if message.ends_with(", there are no fields") => category.to_owned(),
        Some(category) => match message.rsplit_once(", expected ") {
            Some((_, expected)) => format!("{category}, expected {expected}"),
            None => category.to_owned(),
        },
        None => "not accepted by the type".into(),
    }
}

/// How the messages of serde begin that name a value.
const FORMS: [&str; 5] = [
    "invalid type: ",
    "invalid value: ",
    "invalid length ",
    "unknown variant `",
    "unknown field `",
];

/// The claim at the place of the error.
fn claim_at<'c>(error: &Error, claims: &'c Registered) -> Option<&'c str> {
    let before = error.line().checked_sub(1)?;
    let lines = claims.payload().split_inclusive('\n').take(before);
    let at = lines
        .map(str::len)
        .sum::<usize>()
        .saturating_add(error.column());
    claims
        .members()
        .find(|(_, value)| value.place().start < at && at <= value.place().end)
        .map(|(name, _)| name)
}

/// The payload as a deserializer.
struct Payload<'c>(&'c Registered, &'c Bytes);

/// One value as a deserializer.
struct Value<'c>(Raw<'c>, &'c Bytes);

/// The members as a map.
struct Members<'c, I> {
    rest: I,
    value: Option<Raw<'c>>,
    bytes: &'c Bytes,
}

/// What was read takes up so many.
struct Bytes(Cell<usize>);

impl Bytes {
    fn add(&self, bytes: usize) {
        self.0.set(self.0.get().saturating_add(bytes));
    }
}

impl<'c, I: ExactSizeIterator<Item = (&'c str, Raw<'c>)>> MapAccess<'c> for Members<'c, I> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'c>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((name, value)) = self.rest.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        self.bytes.add(name.len());
        seed.deserialize(BorrowedStrDeserializer::new(name))
            .map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'c>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let value = self.value.take();
        let value = value.ok_or_else(|| serde::de::Error::custom("value without a key"))?;
        seed.deserialize(Value(value, self.bytes))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// Methods that let `serde_json` read the text.
macro_rules! read {
    ($($method:ident($($argument:ident: $type:ty),*))*) => {$(
        fn $method<V: Visitor<'c>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, Error> {
            let mut json = serde_json::Deserializer::from_str(self.text());
            let value = json.$method($($argument,)* visitor)?;
            json.end().map(|()| value)
        }
    )*};
}

macro_rules! read_scalars_and_more {
    () => {
        read! {
            deserialize_bool() deserialize_char()
            deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
            deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
            deserialize_f32() deserialize_f64()
            deserialize_bytes() deserialize_byte_buf() deserialize_identifier()
            deserialize_option() deserialize_unit() deserialize_unit_struct(name: &'static str)
            deserialize_newtype_struct(name: &'static str)
            deserialize_tuple(length: usize)
            deserialize_tuple_struct(name: &'static str, length: usize)
            deserialize_enum(name: &'static str, variants: &'static [&'static str])
        }
    };
}

impl<'c> Payload<'c> {
    /// The whole text, to be read.
    fn text(&self) -> &'c str {
        self.1.add(weight::of_json(self.0.payload()));
        self.0.payload()
    }

    fn members<V: Visitor<'c>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(Members {
            rest: self.0.members(),
            value: None,
            bytes: self.1,
        })
    }
}

impl<'c> Deserializer<'c> for Payload<'c> {
    type Error = Error;

    read_scalars_and_more!();
    read! {
        deserialize_ignored_any() deserialize_seq() deserialize_str() deserialize_string()
    }

    fn deserialize_any<V: Visitor<'c>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'c>>(self, visitor: V) -> Result<V::Value, Error> {
        self.1.add(weight::of_map(self.0.members().len()));
        self.members(visitor)
    }

    fn deserialize_struct<V: Visitor<'c>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.members(visitor)
    }
}

impl<'c> Value<'c> {
    /// The text, to be read.
    fn text(&self) -> &'c str {
        self.1.add(weight::of_json(self.0.text()));
        self.0.text()
    }
}

impl<'c> Deserializer<'c> for Value<'c> {
    type Error = Error;

    read_scalars_and_more!();
    read! {
        deserialize_any() deserialize_map()
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
    }

    fn deserialize_str<V: Visitor<'c>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.plain_text() {
            Some(text) => {
                self.1
                    .add(weight::of_type::<u8>().saturating_add(text.len()));
                visitor.visit_borrowed_str(text)
            }
            None => {
                let mut json = serde_json::Deserializer::from_str(self.text());
                json.deserialize_str(visitor)
            }
        }
    }

    fn deserialize_string<V: Visitor<'c>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    /// How many items there are is known before the first is made, so no list has to grow.
    fn deserialize_seq<V: Visitor<'c>>(self, visitor: V) -> Result<V::Value, Error> {
        let Some(items) = self.0.items() else {
            let mut json = serde_json::Deserializer::from_str(self.text());
            return json.deserialize_seq(visitor);
        };
        self.1.add(weight::of_list(items.len()));
        let items = items.into_iter().map(|item| Value(item, self.1));
        let mut items = SeqDeserializer::new(items);
        let value = visitor.visit_seq(&mut items)?;
        items.end().map(|()| value)
    }

    /// What no type asks for was read once, and that is enough.
    fn deserialize_ignored_any<V: Visitor<'c>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

impl<'c> IntoDeserializer<'c, Error> for Value<'c> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};
    use std::fmt::Debug;

    use serde::Deserialize;

    use super::*;

    /// Reads the payload through the members alone, and as `serde_json` does.
    fn both<C: DeserializeOwned + PartialEq + Debug>(payload: &str) -> (Option<C>, Option<C>) {
        let claims = Registered::read(payload.to_owned()).unwrap();
        let whole = serde_json::from_str(payload);
        let own = deserialize(&claims).map(|(own, _)| own);
        assert_eq!(
            own.as_ref().map_err(ToString::to_string),
            whole.as_ref().map_err(ToString::to_string)
        );
        let bytes = Bytes(Cell::new(0));
        (C::deserialize(Payload(&claims, &bytes)).ok(), whole.ok())
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Plain {
        name: String,
        age: Option<u8>,
        #[serde(default)]
        tags: Vec<String>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Closed {
        name: String,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Flat {
        #[serde(flatten)]
        plain: Plain,
        #[serde(flatten)]
        rest: BTreeMap<String, serde_json::Value>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(untagged)]
    enum Either {
        Name { name: String },
        Age { age: u64 },
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(tag = "kind")]
    enum Tagged {
        Person(Plain),
        Robot {},
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Wrapped(Plain);

    #[derive(Debug, Deserialize, PartialEq)]
    struct Lists {
        tags: (String, Option<String>),
        #[serde(default)]
        deep: Vec<Vec<Plain>>,
    }

    /// Takes the first item of a list, and would leave the others unread.
    #[derive(Debug, PartialEq)]
    struct First(String);

    impl<'de> Deserialize<'de> for First {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visit;

            impl<'de> Visitor<'de> for Visit {
                type Value = First;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a list")
                }

                fn visit_seq<A: serde::de::SeqAccess<'de>>(
                    self,
                    mut items: A,
                ) -> Result<First, A::Error> {
                    items
                        .next_element()
                        .map(|item| First(item.unwrap_or_default()))
                }
            }

            deserializer.deserialize_seq(Visit)
        }
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Leading {
        tags: First,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    enum Single {
        #[serde(rename = "name")]
        Name(String),
    }

    const PAYLOADS: [&str; 16] = [
        "{}",
        r#"{"name":"a"}"#,
        r#"{"name":"\u0061\n"}"#,
        r#"{"\u006eame":"a","age":7,"tags":["x","\u0079"]}"#,
        r#"{"name":5}"#,
        r#"{"name":"a","age":-1}"#,
        r#"{"name":"a","age":null,"more":{"deep":[1,{"x":1.5e3}]}}"#,
        r#"{"age":5}"#,
        r#"{"age":18446744073709551615}"#,
        r#"{"kind":"Person","name":"a"}"#,
        r#"{"kind":"Robot"}"#,
        r#"{ "name" : "a" , "tags" : [ ] }"#,
        r#"{"tags":["a",null],"deep":[[{"name":"b"}],[]]}"#,
        r#"{"tags":["a","b","c"]}"#,
        r#"{"tags":["a"]}"#,
        r#"{"name":"a","tags":"b"}"#,
    ];

    #[test]
    fn own_claims_are_what_the_whole_payload_says_that_they_are() {
        fn check<C: DeserializeOwned + PartialEq + Debug>() {
            for payload in PAYLOADS {
                // Whatever the members give, the payload gives too.
                let (members, whole) = both::<C>(payload);
                assert!(members.is_none() || members == whole, "{payload}");
            }
        }
        check::<Plain>();
        check::<Closed>();
        check::<Flat>();
        check::<Either>();
        check::<Tagged>();
        check::<Wrapped>();
        check::<Lists>();
        check::<Leading>();
        check::<Single>();
        check::<Option<Plain>>();
        check::<serde_json::Value>();
        check::<HashMap<String, serde_json::Value>>();
        check::<HashMap<u32, serde_json::Value>>();
        check::<Vec<String>>();
        check::<String>();
        check::<u8>();
        check::<()>();
    }

    /// What is said about a payload that does not fit.
    fn reason_of<C: DeserializeOwned + Debug>(payload: &str) -> String {
        let claims = Registered::read(payload.to_owned()).unwrap();
        reason(&deserialize::<C>(&claims).unwrap_err(), &claims)
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Rank {
        Admin,
        Editor,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only deserialized")]
    struct Ranked {
        rank: Rank,
        #[serde(default)]
        at: Option<std::net::IpAddr>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}

    #[test]
    fn a_reason_names_claim_and_category_and_no_value() {
        for (said, expected) in [
            (
                reason_of::<Plain>(r#"{"name":4711}"#),
                r#"claim "name": invalid type, expected a string"#,
            ),
            (
                reason_of::<Plain>(r#"{"name":"x","age":"secret, expected secret"}"#),
                r#"claim "age": invalid type, expected u8"#,
            ),
            (
                reason_of::<Plain>("{\n\"name\":\"x\",\n \"age\" : 4711}"),
                r#"claim "age": invalid value, expected u8"#,
            ),
            (
                reason_of::<Ranked>(r#"{"iss":"a","rank":"alice@example.com"}"#),
                r#"claim "rank": unknown variant, expected `admin` or `editor`"#,
            ),
            (
                reason_of::<Ranked>(r#"{"rank":"admin","at":"alice@example.com"}"#),
                r#"claim "at": not accepted by the type"#,
            ),
            (
                reason_of::<Nothing>(r#"{"alice@example.com, expected `alice`":1}"#),
                "unknown field",
            ),
            (reason_of::<Plain>(r#"{"age":7}"#), "missing field `name`"),
            (
                reason_of::<Either>(r#"{"name":4711}"#),
                "not accepted by the type",
            ),
            (
                reason_of::<Tagged>(r#"{"kind":"alice"}"#),
                r#"claim "kind": unknown variant, expected `Person` or `Robot`"#,
            ),
            (
                reason_of::<Plain>(r#"{"name":"x","tags":["a",{"b":"c"}]}"#),
                r#"claim "tags": invalid type, expected a string"#,
            ),
        ] {
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn a_message_in_the_words_of_a_user_is_not_shown() {
        for message in [
            "duplicate role `alice@example.com`",
            "missing field `name` of `alice`",
            "missing field `name`, got alice",
            "missing fields of `alice`",
            "invalid value, expected digits, got 4711",
            "invalid values: 4711, expected less",
            "unknown variants 4711, expected less",
            "invalid typed, expected alice",
        ] {
            assert_eq!(category(message), "not accepted by the type", "{message}");
        }
        for (message, expected) in [
            ("missing field `name`", "missing field `name`"),
            ("duplicate field `name`", "duplicate field `name`"),
            (
                "invalid length 3, expected a tuple of size 2",
                "invalid length, expected a tuple of size 2",
            ),
            (
                "unknown variant `alice`, there are no variants",
                "unknown variant",
            ),
        ] {
            assert_eq!(category(message), expected);
        }
    }

    /// As [`Payload`] counts it.
    fn bytes_of<C: DeserializeOwned>(payload: &str) -> usize {
        let claims = Registered::read(payload.to_owned()).unwrap();
        deserialize::<C>(&claims).unwrap().1
    }

    #[test]
    fn own_claims_count_by_what_they_read() {
        let small = r#"{"name":"ada","more":5}"#;
        let more = format!(r#"{{"name":"ada","more":[{}0]}}"#, "0,".repeat(1_000));
        let named = format!(r#"{{"name":"{}"}}"#, "a".repeat(1_000));
        assert!(bytes_of::<Plain>(small) < 200);
        assert_eq!(bytes_of::<Plain>(&more), bytes_of::<Plain>(small));
        assert!((1_000..1_200).contains(&bytes_of::<Plain>(&named)));
        assert!(bytes_of::<serde_json::Value>(&more) > 64_000);
        assert!(bytes_of::<Flat>(&more) > 64_000);
        assert!(bytes_of::<Either>(&more) > 64_000);
    }

    #[test]
    fn a_structure_is_read_without_the_whole_payload() {
        let (members, whole) = both::<Plain>(PAYLOADS[3]);
        assert!(members.is_some());
        assert_eq!(members, whole);
    }
}
