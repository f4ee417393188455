//! Deserializes own claims from the members that the JSON reader has found.
//!
//! A type usually names a few of the claims, so most of the payload is not read a second time.
//! `serde_json` reads each value that the type needs. It reads the whole payload if the type is not a
//! structure or a map, or if the claims do not fit and the reason is needed.
//!
//! `serde_json::from_str` alone is slower: for a token of 1.4 kB with twelve claims, and a type
//! that names three of them, it takes 3.4 times as long (2.7 against 0.8 microseconds, the bench
//! `own_claims_for_the_first_time`). Each new token has this cost.

use std::cell::Cell;

use serde::de::value::{BorrowedStrDeserializer, SeqDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor,
};
use serde_json::Error;

use crate::claims::weight;
use crate::json::Raw;
use crate::token::registered::Registered;

/// Deserializes own claims. Also returns their size in bytes, estimated from what was read.
pub(crate) fn deserialize<C: DeserializeOwned>(claims: &Registered) -> Result<(C, usize), Error> {
    let bytes = Bytes(Cell::new(weight::of_type::<C>()));
    let own = C::deserialize(Payload(claims, &bytes)).or_else(|_| {
        // The second attempt decides. Its errors have the line and the column in the payload.
        bytes.add(weight::of_json(claims.payload()));
        serde_json::from_str(claims.payload())
    })?;
    Ok((own, bytes.0.get()))
}

/// Deserializes one value.
pub(crate) fn value<D: DeserializeOwned>(value: Raw<'_>) -> Option<D> {
    D::deserialize(Value(value, &Bytes(Cell::new(0)))).ok()
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

/// The estimated size of what was read.
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

/// Methods in which `serde_json` reads the text.
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
    /// The text of the whole payload. Counts it as read.
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
    /// The text of the value. Counts it as read.
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

    /// The number of items is known in advance, so no list has to grow.
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

    /// A value that the type does not need was checked by the JSON reader. It is not read again.
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

    /// Reads the payload only through the members, and with `serde_json`.
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

    /// Reads the first item of a list, and leaves the others unread.
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
                // Whatever the members return, the payload returns too.
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

    /// The number of bytes that [`Payload`] counts.
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
