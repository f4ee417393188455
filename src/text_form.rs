//! The text forms of types that configuration files contain.

use std::fmt;

use serde::de::{Deserializer, Error, SeqAccess, Visitor};

/// Implements `FromStr` and `Deserialize` of a string with the constructor `$new`, and `Serialize`
/// with `Display`.
macro_rules! text_form {
    ($type:ty, $new:expr) => {
        impl ::std::str::FromStr for $type {
            type Err = $crate::error::config::ConfigError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $new(text)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Self, D::Error> {
                let text = ::std::borrow::Cow::<str>::deserialize(deserializer)?;
                $new(&text).map_err(::serde::de::Error::custom)
            }
        }

        impl ::serde::Serialize for $type {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

pub(crate) use text_form;

/// One string, or an array of strings.
pub(crate) enum Texts {
    One(String),
    Several(Vec<String>),
}

impl Texts {
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or an array of texts")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Texts, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = seq.next_element()? {
                    texts.push(text);
                }
                Ok(Texts::Several(texts))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}
