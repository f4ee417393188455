//! JSON Web Keys (RFC 7517, RFC 7518 section 6, RFC 8037).

use base64_simd::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::error::config::{ConfigError, KeyError};
use crate::error::rejection::Excerpt;
use crate::error::shown_url::ShownUrl;
use crate::json::{self, Raw};
use crate::keys::algorithm::Algorithm;
use crate::keys::key::{Key, KeyId};
use crate::keys::material::{Curve, Material};

/// One entry of a key set, after reading.
pub(super) struct Entry {
    pub(super) id: Option<String>,
    pub(super) key: Result<Key, KeyError>,
}

impl Key {
    /// Reads one JSON Web Key ([RFC 7517]), public or symmetric.
    ///
    /// A key without `alg` is used with the usual algorithm of its type: `RS256` for RSA, the
    /// algorithm of the curve for EC, `EdDSA` and `Ed25519` for OKP, and for a secret the longest
    /// HMAC that fits. [`JwtAuth::algorithms`] can allow others.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`] if the key is not usable. A secret is checked as in
    /// [`from_secret`](Self::from_secret).
    ///
    /// [RFC 7517]: https://www.rfc-editor.org/rfc/rfc7517
    /// [`JwtAuth::algorithms`]: crate::JwtAuth::algorithms
    pub fn from_jwk(jwk: &[u8]) -> Result<Self, ConfigError> {
        Ok(parse(jwk, &[])?)
    }
}

/// Reads a single key, public or symmetric. `uses` as in [`Listed::read`].
pub(super) fn parse(text: &[u8], uses: &[String]) -> Result<Key, KeyError> {
    let text = std::str::from_utf8(text).map_err(|_| KeyError::Format {
        expected: "a JSON Web Key: not UTF-8",
    })?;
    let mut members = Vec::new();
    json::read_object(text, json::MAX_MEMBERS, |name, value| {
        members.push((name, value))
    })
    .map_err(|_| KeyError::Format {
        expected: "a JSON Web Key: one JSON object without duplicate members",
    })?;
    let has = |name: &str| members.iter().any(|(known, _)| known == name);
    if has("keys") && !has("kty") {
        return Err(KeyError::Format {
            expected: "a JSON Web Key: it is a key set, so read it with `KeySet::from_jwks` or as \
                       `KeyFormat::jwks`",
        });
    }
    Members(members).key(uses)
}

/// Whether a set with keys for encryption may have keys without `use`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum KeysWithoutUse {
    Allowed,
    #[cfg(feature = "remote")]
    SkippedBesideEncryption,
}

/// One of the `keys` of a set, before it is read.
pub(super) struct Listed<'a> {
    raw: Raw<'a>,
    /// Whether the key must have a `use`.
    needs_use: bool,
}

impl Listed<'_> {
    /// Reads the key. Its `use` may be `sig` or one of `uses`.
    pub(super) fn read(&self, uses: &[String]) -> Entry {
        let mut entry = entry(self.raw, uses);
        if self.needs_use && public_key_use(self.raw).is_none() && entry.key.is_ok() {
            entry.key = Err(KeyError::Usage {
                reason: "`use` is missing, and the set has keys for encryption too",
            });
        }
        entry
    }

    pub(super) fn id(&self) -> Option<String> {
        Members(self.raw.members()?).text("kid").ok().flatten()
    }
}

/// Splits a public key set into its keys. Fails only if the text is not a key set.
pub(super) fn parse_set(
    text: &[u8],
    keys_without_use: KeysWithoutUse,
) -> Result<Vec<Listed<'_>>, ConfigError> {
    let rejected = |reason: String| ConfigError::KeySet { reason };
    let text =
        std::str::from_utf8(text).map_err(|_| rejected("expected JSON text in UTF-8".into()))?;
    let (mut keys, mut jwks_uri, mut is_key) = (None, None, false);
    json::read_object(text, SET_MEMBERS, |name, value| match &*name {
        "keys" => keys = value.items(),
        "jwks_uri" => jwks_uri = value.string(),
        "kty" => is_key = true,
        _ => {}
    })
    .map_err(|error| {
        rejected(match error {
            json::JsonError::Duplicate(name) => {
                format!("member {} occurs twice in one object", Excerpt(&name))
            }
            json::JsonError::Reserved => "a member has a reserved name".into(),
            json::JsonError::Syntax(at) => {
                format!("expected a JSON object with `keys`, not JSON at byte {at}")
            }
            json::JsonError::TooLarge(what) => format!("{what} is beyond the limit"),
        })
    })?;
    let keys = keys.ok_or_else(|| {
        rejected(match jwks_uri {
            Some(uri) => format!(
                "expected a JSON object with an array `keys`, found the metadata of an issuer, \
                 whose key set is at {}",
                Excerpt(&ShownUrl(&uri).to_string())
            ),
            None if is_key => "expected a JSON object with an array `keys`, found a single key: \
                 read it with `Key::from_jwk` or as `KeyFormat::jwk`"
                .into(),
            None => "expected a JSON object with an array `keys`".into(),
        })
    })?;
    let is_encryption = |key: &Raw<'_>| public_key_use(*key).as_deref() == Some("enc");
    let needs_use = keys_without_use != KeysWithoutUse::Allowed && keys.iter().any(is_encryption);
    let listed = keys.into_iter().map(|raw| Listed { raw, needs_use });
    Ok(listed.collect())
}

fn public_key_use(key: Raw<'_>) -> Option<std::borrow::Cow<'_, str>> {
    let found = key.member("use").and_then(Raw::string);
    found.filter(|usage| !usage.is_empty())
}

fn entry(raw: Raw<'_>, uses: &[String]) -> Entry {
    let Some(members) = raw.members().map(Members) else {
        return Entry {
            id: None,
            key: Err(KeyError::Format {
                expected: "a JSON object",
            }),
        };
    };
    let id = members.text("kid").ok().flatten();
    let key = match members.text("kty") {
        Ok(Some(kty)) if kty == "oct" => Err(KeyError::Symmetric),
        _ => members.key(uses),
    };
    Entry { id, key }
}

struct Members<'a>(Vec<(std::borrow::Cow<'a, str>, Raw<'a>)>);

impl<'a> Members<'a> {
    fn key(&self, uses: &[String]) -> Result<Key, KeyError> {
        let kty = self.required("kty")?;
        self.check_usage(uses)?;
        let algorithm = self.algorithm()?;
        let material = match kty.as_str() {
            "RSA" => Material::rsa(&self.public("n")?, &self.public("e")?)?,
            "EC" => {
                let curve = match self.required("crv")?.as_str() {
                    "P-256" => Curve::P256,
                    "P-384" => Curve::P384,
                    "P-521" => Curve::P521,
                    other => {
                        return Err(KeyError::Unsupported {
                            kind: "curve",
                            input: other.to_owned(),
                        });
                    }
                };
                Material::ec(curve, &self.public("x")?, &self.public("y")?)?
            }
            "OKP" => match self.required("crv")?.as_str() {
                "Ed25519" => Material::ed25519(&self.public("x")?)?,
                other => {
                    return Err(KeyError::Unsupported {
                        kind: "curve",
                        input: other.to_owned(),
                    });
                }
            },
            "oct" => Material::secret(self.secret("k")?)?,
            other => {
                return Err(KeyError::Unsupported {
                    kind: "key type",
                    input: other.to_owned(),
                });
            }
        };
        if kty != "oct" && PRIVATE.iter().any(|name| self.get(name).is_some()) {
            return Err(KeyError::Private);
        }
        let id = self.text("kid")?.map(KeyId::from);
        Key::build(id, algorithm, &material)
    }

    /// `use` and `key_ops` (RFC 7517, sections 4.2 and 4.3).
    fn check_usage(&self, uses: &[String]) -> Result<(), KeyError> {
        let public_key_use = self.text("use")?;
        let is_encryption = match public_key_use.as_deref() {
            None | Some("sig") => false,
            // Never accepted, not even with `accept_use`: such a key is not for signatures.
            Some("enc") => true,
            Some(other) if uses.iter().any(|accepted| accepted == other) => false,
            Some(other) => {
                return Err(KeyError::OtherUse {
                    input: other.to_owned(),
                });
            }
        };
        let Some(operations) = self.get("key_ops") else {
            return if is_encryption {
                Err(KeyError::Encryption)
            } else {
                Ok(())
            };
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
        let encrypts = |operation: &std::borrow::Cow<'_, str>| ENCRYPTION.contains(&&**operation);
        if operations.iter().all(encrypts) && public_key_use.as_deref() != Some("sig") {
            return Err(KeyError::Encryption);
        }
        if is_encryption {
            return Err(KeyError::Usage {
                reason: "`use` is `enc`, and `key_ops` says otherwise",
            });
        }
        if !operations.iter().any(|operation| operation == "verify") {
            return Err(KeyError::Usage {
                reason: "`key_ops` does not contain `verify`",
            });
        }
        if operations
            .iter()
            .any(|operation| operation != "verify" && operation != "sign")
        {
            return Err(KeyError::Usage {
                reason: "`key_ops` mixes signing with other operations",
            });
        }
        Ok(())
    }

    fn algorithm(&self) -> Result<Option<Algorithm>, KeyError> {
        let Some(name) = self.text("alg")? else {
            return Ok(None);
        };
        match Algorithm::from_name(&name) {
            Some(algorithm) => Ok(Some(algorithm)),
            None => Err(KeyError::Unsupported {
                kind: "algorithm",
                input: name,
            }),
        }
    }

    /// The member, if it has a value. Some libraries write a member without a value as null or empty.
    fn get(&self, name: &str) -> Option<Raw<'a>> {
        let found = self
            .0
            .iter()
            .find_map(|(candidate, value)| (candidate == name).then_some(*value))?;
        (!is_absent(found)).then_some(found)
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
        self.text(name)?.ok_or(KeyError::MissingMember { name })
    }

    fn secret(&self, name: &'static str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let text = Zeroizing::new(self.required(name)?);
        decoded(name, &text)
    }

    /// Same as [`secret`](Self::secret), but padding is accepted. The value is unambiguous either way,
    /// and the issuer decides what its key is.
    fn public(&self, name: &'static str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let text = self.required(name)?;
        let padded = text.len().is_multiple_of(4).then_some(&*text);
        let bare = padded.and_then(|text| {
            let once = text.strip_suffix('=')?;
            Some(once.strip_suffix('=').unwrap_or(once))
        });
        decoded(name, bare.unwrap_or(&text))
    }
}

fn decoded(name: &'static str, text: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let expected = KeyError::Member {
        name,
        expected: "base64url without padding",
    };
    URL_SAFE_NO_PAD
        .decode_to_vec(text.as_bytes())
        .map(Zeroizing::new)
        .map_err(|_| expected)
}

fn is_absent(value: Raw<'_>) -> bool {
    matches!(value.text(), "null" | "\"\"") || value.items().is_some_and(|items| items.is_empty())
}

/// Members of private keys.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"];

/// Operations of encryption (RFC 7517, section 4.3).
const ENCRYPTION: [&str; 6] = [
    "decrypt",
    "deriveBits",
    "deriveKey",
    "encrypt",
    "unwrapKey",
    "wrapKey",
];

/// The maximum number of members of all keys of a set.
const SET_MEMBERS: usize = 1_000_000;
