//! Private keys in JSON Web Keys.

use std::borrow::Cow;

use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{EcdsaKeyPair, EcdsaSigningAlgorithm, RsaKeyPair};
use base64_simd::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::error::config::KeyError;
use crate::json::{self, Raw};
use crate::keys::private_key::Pair;

/// The members of a private key, which are cleared when they are dropped.
pub(super) struct Members(Vec<(String, Zeroizing<String>)>);

impl Members {
    pub(super) fn read(jwk: &[u8]) -> Result<Self, KeyError> {
        let expected = || KeyError::Format {
            expected: "a JSON Web Key: one JSON object without duplicate members",
        };
        let text = std::str::from_utf8(jwk).map_err(|_| expected())?;
        let mut members = Vec::new();
        let mut usage = Ok(());
        json::read_object(text, json::MAX_MEMBERS, |name, value| {
            usage = usage.clone().and_then(|()| check_usage(&name, value));
            if let Some(value) = value.string().filter(|value| !value.is_empty()) {
                members.push((name.into_owned(), Zeroizing::new(value.into_owned())));
            }
        })
        .map_err(|_| expected())?;
        usage.map(|()| Self(members))
    }

    pub(super) fn text(&self, name: &'static str) -> Result<&str, KeyError> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.as_str())
            .ok_or(KeyError::MissingMember { name })
    }

    pub(super) fn bytes(&self, name: &'static str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let decoded = URL_SAFE_NO_PAD.decode_to_vec(self.text(name)?.as_bytes());
        decoded.map(Zeroizing::new).map_err(|_| KeyError::Member {
            name,
            expected: "base64url without padding",
        })
    }

    pub(super) fn ec(
        &self,
        curve: &'static EcdsaSigningAlgorithm,
    ) -> Result<Option<Pair>, KeyError> {
        let (x, y) = (self.bytes("x")?, self.bytes("y")?);
        let point = [&[4][..], &x, &y].concat();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(curve, &self.bytes("d")?, &point);
        Ok(pair.ok().map(Pair::Ec))
    }

    pub(super) fn rsa(&self) -> Result<Option<RsaKeyPair>, KeyError> {
        let components = KeyPairComponents {
            public_key: PublicKeyComponents {
                n: self.bytes("n")?,
                e: self.bytes("e")?,
            },
            d: self.bytes("d")?,
            p: self.bytes("p")?,
            q: self.bytes("q")?,
            dP: self.bytes("dp")?,
            dQ: self.bytes("dq")?,
            qInv: self.bytes("qi")?,
        };
        Ok(RsaKeyPair::from_components(&components).ok())
    }
}

/// `use` and `key_ops` (RFC 7517, sections 4.2 and 4.3).
fn check_usage(name: &str, value: Raw<'_>) -> Result<(), KeyError> {
    match name {
        "use" => match value.string().as_deref() {
            Some("sig") => Ok(()),
            Some("enc") => Err(KeyError::Encryption),
            Some(other) => Err(KeyError::OtherUse {
                input: other.to_owned(),
            }),
            None => Err(KeyError::Member {
                name: "use",
                expected: "a string",
            }),
        },
        "key_ops" => {
            let items = value.items().ok_or(KeyError::Member {
                name: "key_ops",
                expected: "an array of different strings",
            })?;
            let operations: Vec<_> = items.into_iter().map(Raw::string).collect();
            let is = |wanted: &str| {
                let mut operations = operations.iter().flatten();
                operations.any(|operation| operation == wanted)
            };
            if !is("sign") {
                return Err(KeyError::Usage {
                    reason: "`key_ops` does not contain `sign`",
                });
            }
            let signs = |operation: &Option<Cow<'_, str>>| {
                matches!(operation.as_deref(), Some("sign" | "verify"))
            };
            if !operations.iter().all(signs) {
                return Err(KeyError::Usage {
                    reason: "`key_ops` mixes signing with other operations",
                });
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
