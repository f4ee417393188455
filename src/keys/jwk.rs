//! JSON Web Keys (RFC 7517, RFC 7518 section 6, RFC 8037).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::algorithm::Algorithm;
use super::key::{Key, KeyId};
use super::material::{Curve, Material};
use crate::config_error::{ConfigError, KeyError};
use crate::error::Excerpt;
use crate::json::{self, Raw};

/// What one entry of a key set turned out to be.
pub(super) struct Entry {
    pub(super) id: Option<String>,
    pub(super) key: Result<Key, KeyError>,
}

/// One key by itself: public, or a secret.
pub(super) fn parse(text: &[u8]) -> Result<Key, KeyError> {
    let text =
        std::str::from_utf8(text).map_err(|_| KeyError::Format("a JSON Web Key: not UTF-8"))?;
    let mut members = Vec::new();
    json::read_object(text, json::MAX_MEMBERS, |name, value| {
        members.push((name, value))
    })
    .map_err(|_| KeyError::Format("a JSON Web Key: one JSON object without duplicate members"))?;
    Members(members).key()
}

/// Whether keys for signing and for encryption may stand in one set without saying which they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mixed {
    Allowed,
    #[cfg(feature = "remote")]
    OnlyWithUse,
}

/// The `keys` of a public key set; fails only if the text is no key set at all.
pub(super) fn parse_set(text: &[u8], mixed: Mixed) -> Result<Vec<Entry>, ConfigError> {
    let refused = |reason: String| ConfigError::KeySet(reason);
    let text =
        std::str::from_utf8(text).map_err(|_| refused("expected JSON text in UTF-8".into()))?;
    let mut keys = None;
    json::read_object(text, SET_MEMBERS, |name, value| {
        if name == "keys" {
            keys = value.items();
        }
    })
    .map_err(|error| {
        refused(match error {
            json::JsonError::Duplicate(name) => {
                format!("member {} stands twice in one object", Excerpt(&name))
            }
            json::JsonError::Reserved => "a member has a reserved name".into(),
            json::JsonError::Syntax(at) => {
                format!("expected a JSON object with `keys`, not JSON at octet {at}")
            }
            json::JsonError::TooLarge(what) => format!("{what} is beyond the limit"),
        })
    })?;
    let keys = keys.ok_or_else(|| refused("expected a JSON object with an array `keys`".into()))?;
    let has_use = |key: &Raw<'_>, expected: Option<&str>| {
        let found = key.member("use").and_then(Raw::string);
        found.as_deref() == expected
    };
    let needs_use = mixed != Mixed::Allowed && keys.iter().any(|key| has_use(key, Some("enc")));
    let entries = keys.into_iter().map(|raw| {
        let mut entry = entry(raw);
        if needs_use && has_use(&raw, None) && entry.key.is_ok() {
            entry.key = Err(KeyError::Usage(
                "`use` is missing, and the set has keys for encryption too",
            ));
        }
        entry
    });
    Ok(entries.collect())
}

fn entry(raw: Raw<'_>) -> Entry {
    let Some(members) = raw.members().map(Members) else {
        return Entry {
            id: None,
            key: Err(KeyError::Format("a JSON object")),
        };
    };
    let id = members.text("kid").ok().flatten();
    let key = match members.text("kty") {
        Ok(Some(kty)) if kty == "oct" => Err(KeyError::Symmetric),
        _ => members.key(),
    };
    Entry { id, key }
}

struct Members<'a>(Vec<(std::borrow::Cow<'a, str>, Raw<'a>)>);

impl<'a> Members<'a> {
    fn key(&self) -> Result<Key, KeyError> {
        let kty = self.required("kty")?;
        self.check_usage()?;
        let algorithm = self.algorithm()?;
        let material = match kty.as_str() {
            "RSA" => Material::rsa(&self.octets("n")?, &self.octets("e")?)?,
            "EC" => {
                let curve = match self.required("crv")?.as_str() {
                    "P-256" => Curve::P256,
                    "P-384" => Curve::P384,
                    "P-521" => Curve::P521,
                    other => return Err(KeyError::Unsupported(format!("curve {other}"))),
                };
                Material::ec(curve, &self.octets("x")?, &self.octets("y")?)?
            }
            "OKP" => match self.required("crv")?.as_str() {
                "Ed25519" => Material::ed25519(&self.octets("x")?)?,
                other => return Err(KeyError::Unsupported(format!("curve {other}"))),
            },
            "oct" => Material::secret(self.octets("k")?)?,
            other => return Err(KeyError::Unsupported(format!("key type {other}"))),
        };
        if kty != "oct" && PRIVATE.iter().any(|name| self.get(name).is_some()) {
            return Err(KeyError::Private);
        }
        let id = self.text("kid")?.map(KeyId::from);
        Key::build(id, algorithm, &material)
    }

    /// `use` and `key_ops` (RFC 7517, sections 4.2 and 4.3).
    fn check_usage(&self) -> Result<(), KeyError> {
        let public_key_use = self.text("use")?;
        if public_key_use
            .as_deref()
            .is_some_and(|usage| usage != "sig")
        {
            return Err(KeyError::Usage("`use` is not `sig`"));
        }
        let Some(operations) = self.get("key_ops") else {
            return Ok(());
        };
        let expected = KeyError::Member {
            name: "key_ops",
            expected: "an array of different strings",
        };
        let mut operations = operations
            .items()
            .and_then(|items| {
                items
                    .into_iter()
                    .map(Raw::string)
                    .collect::<Option<Vec<_>>>()
            })
            .ok_or_else(|| expected.clone())?;
        operations.sort_unstable();
        if operations
            .windows(2)
            .any(|pair| matches!(pair, [a, b] if a == b))
        {
            return Err(expected);
        }
        if !operations.iter().any(|operation| operation == "verify") {
            return Err(KeyError::Usage("`key_ops` does not contain `verify`"));
        }
        if operations
            .iter()
            .any(|operation| operation != "verify" && operation != "sign")
        {
            return Err(KeyError::Usage(
                "`key_ops` mixes signing with other operations",
            ));
        }
        Ok(())
    }

    fn algorithm(&self) -> Result<Option<Algorithm>, KeyError> {
        let Some(name) = self.text("alg")? else {
            return Ok(None);
        };
        match Algorithm::from_name(&name) {
            Some(algorithm) => Ok(Some(algorithm)),
            None => Err(KeyError::Unsupported(format!("algorithm {name}"))),
        }
    }

    fn get(&self, name: &str) -> Option<Raw<'a>> {
        self.0
            .iter()
            .find_map(|(candidate, value)| (candidate == name).then_some(*value))
    }

    fn text(&self, name: &'static str) -> Result<Option<String>, KeyError> {
        self.get(name)
            .map(|value| {
                value.string().map(String::from).ok_or(KeyError::Member {
                    name,
                    expected: "a string",
                })
            })
            .transpose()
    }

    fn required(&self, name: &'static str) -> Result<String, KeyError> {
        self.text(name)?.ok_or(KeyError::MissingMember(name))
    }

    fn octets(&self, name: &'static str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let text = Zeroizing::new(self.required(name)?);
        let expected = KeyError::Member {
            name,
            expected: "base64url without padding",
        };
        URL_SAFE_NO_PAD
            .decode(text.as_bytes())
            .map(Zeroizing::new)
            .map_err(|_| expected)
    }
}

/// Members that only a private key has.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"];

/// Members of all keys of a set together.
const SET_MEMBERS: usize = 1_000_000;
