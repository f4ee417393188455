//! A second reader of keys, which lists all faults of a key, in no order. A key without faults is good.

use crate::checks::fuzz::curves::Curve;
use crate::checks::fuzz::document;
use crate::checks::fuzz::document::{MAX_MEMBERS, Node, member};
use crate::checks::fuzz::faults::{ALGORITHMS, Fault};
use crate::checks::fuzz::material::Material;
use crate::checks::fuzz::readers::well_formed;
use crate::error::config::{ConfigError, KeyError};
use crate::keys::key::Key;
use crate::keys::set::KeySet;

/// The place of a key.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// A single key, which may be a secret.
    Alone,
    Set,
    /// In a set in which each key must say that it is for signatures.
    MixedSet,
}

/// A single key.
pub(super) fn one(read: &Result<Key, ConfigError>, text: &[u8]) {
    let seen = document::look(text, MAX_MEMBERS);
    let members = match &seen {
        Ok(seen) if seen.is_too_large || seen.is_reserved || seen.has_name_twice => None,
        Ok(seen) => members_of(&seen.node),
        Err(error) if document::is_open(error) => return,
        Err(_) => None,
    };
    let judged = Judged::of(members, Place::Alone);
    match read {
        Ok(key) => judged.confirm(key),
        Err(ConfigError::Key { reason: error }) => {
            let is_true = judged.faults.contains(&error.into())
                // Other tests check how random a secret looks.
                || (judged.is_secret() && matches!(error, KeyError::Weak { .. }));
            assert!(is_true, "{error}: {judged:?}");
        }
        Err(other) => panic!("{other}"),
    }
}

/// A set with a maximum number of keys. If it `is_published`, each key must have a use.
pub(super) fn set(
    read: Result<KeySet, ConfigError>,
    text: &[u8],
    is_published: bool,
    max_keys: usize,
) {
    let entries = match entries(text) {
        Ok(entries) => entries,
        Err(words) if words.is_empty() => return,
        Err(words) => {
            let Err(ConfigError::KeySet { reason }) = read else {
                panic!("read, and expected that {words:?}: {read:?}");
            };
            assert!(
                words.iter().any(|words| reason.contains(words)),
                "{reason}, and expected {words:?}"
            );
            return;
        }
    };
    let usage = |entry: &Node| {
        let found = members_of(entry).and_then(|members| member(members, "use"));
        found
            .and_then(Node::text)
            .filter(|usage| !usage.is_empty())
            .map(String::from)
    };
    let is_mixed = entries
        .iter()
        .any(|entry| usage(entry).as_deref() == Some("enc"));
    let mut usable = 0;
    let judged = entries.iter().map(|entry| {
        let place = if is_published && is_mixed && usage(entry).is_none() {
            Place::MixedSet
        } else {
            Place::Set
        };
        let mut judged = Judged::of(members_of(entry), place);
        if usable == max_keys {
            judged.faults = vec![Fault::Excess];
        }
        usable += usize::from(judged.faults.is_empty());
        judged
    });
    let judged: Vec<_> = judged.collect();
    let set = match read {
        Ok(set) => set,
        Err(ConfigError::KeySet { reason }) => {
            assert_eq!(usable, 0, "{reason}: {judged:?}");
            assert_eq!(reason.contains("it has no keys"), entries.is_empty());
            let told = judged.iter().zip(0..8_usize);
            for (judged, at) in told {
                let name = match &judged.id {
                    Some(id)
                        if id.len() < 32 && id.bytes().all(|one| one.is_ascii_alphanumeric()) =>
                    {
                        format!("key \"{id}\": ")
                    }
                    Some(_) => "key \"".to_owned(),
                    None => format!("key at position {at}: "),
                };
                assert!(reason.contains(&name), "{reason}: {name}");
            }
            return;
        }
        Err(other) => panic!("{other}"),
    };
    let (good, bad): (Vec<_>, Vec<_>) = judged
        .iter()
        .enumerate()
        .partition(|(_, judged)| judged.faults.is_empty());
    assert_eq!(set.keys().count(), good.len(), "{judged:?}");
    assert_eq!(set.skipped_count(), bad.len(), "{judged:?}");
    assert_eq!(set.skipped().len(), bad.len().min(64));
    for (key, (_, judged)) in set.keys().zip(good) {
        judged.confirm(key);
    }
    for (skipped, (position, judged)) in set.skipped().iter().zip(bad) {
        assert_eq!(skipped.position(), position);
        assert_eq!(skipped.id(), judged.id.as_deref());
        let reason = skipped.reason();
        assert!(
            judged.faults.contains(&reason.into()),
            "{reason}: {judged:?}"
        );
    }
}

/// The `keys` of a set. If the text is not a set: phrases of which the reason must contain one, or none if
/// the other reader cannot decide.
fn entries(text: &[u8]) -> Result<Vec<Node>, Vec<&'static str>> {
    if std::str::from_utf8(text).is_err() {
        return Err(vec!["expected JSON text in UTF-8"]);
    }
    let mut words = Vec::new();
    let seen = match document::look(text, SET_MEMBERS) {
        Ok(seen) => seen,
        // A strict reader may stop before the syntax error.
        Err(error) if document::is_open(&error) => return Err(Vec::new()),
        Err(_) => return Err(vec![NO_JSON, TWICE, TOO_LARGE, RESERVED]),
    };
    let flaws = [
        (seen.has_name_twice, TWICE),
        (seen.is_too_large, TOO_LARGE),
        (seen.is_reserved, RESERVED),
    ];
    words.extend(flaws.iter().filter(|(is, _)| *is).map(|(_, words)| *words));
    let Node::Object(members) = seen.node else {
        words.push(NO_JSON);
        return Err(words);
    };
    if !words.is_empty() {
        return Err(words);
    }
    match member(&members, "keys") {
        Some(Node::List(entries)) => Ok(entries.clone()),
        _ => Err(vec![match member(&members, "jwks_uri") {
            Some(Node::Text(_)) => "found the metadata of an issuer",
            _ => "expected a JSON object with an array `keys`",
        }]),
    }
}

#[derive(Debug)]
struct Judged {
    faults: Vec<Fault>,
    id: Option<String>,
    algorithm: Option<String>,
    material: Option<Material>,
}

impl Judged {
    fn of(members: Option<&[(String, Node)]>, place: Place) -> Self {
        let mut judged = Self {
            faults: Vec::new(),
            id: None,
            algorithm: None,
            material: None,
        };
        match members {
            Some(members) => judged.judge(&Members(members), place),
            None => judged.faults.push(Fault::Form),
        }
        judged
    }

    fn judge(&mut self, members: &Members<'_>, place: Place) {
        let text = |name: &str| members.get(name).and_then(Node::text);
        self.id = text("kid").map(String::from);
        self.algorithm = text("alg").map(String::from);
        if text("kty") == Some("oct") && place != Place::Alone {
            self.faults.push(Fault::Symmetric);
            return;
        }
        for name in ["kty", "use", "alg", "kid"] {
            if members
                .get(name)
                .is_some_and(|value| value.text().is_none())
            {
                self.faults.push(Fault::Member(name.to_owned()));
            }
        }
        self.faults.extend(members.usage());
        if place == Place::MixedSet && members.get("use").is_none() {
            self.faults.push(Fault::Usage);
        }
        let of_kind: &[&str] = match text("kty") {
            Some("RSA") => &["n", "e"],
            Some("EC") => &["crv", "x", "y"],
            Some("OKP") => &["crv", "x"],
            Some("oct") => &["k"],
            Some(other) => {
                self.faults
                    .push(Fault::Unsupported("key type", other.to_owned()));
                &[]
            }
            None => {
                self.faults.push(Fault::Missing("kty".to_owned()));
                // For a key set in place of a key, the error says so.
                if place == Place::Alone {
                    self.faults.push(Fault::Form);
                }
                &[]
            }
        };
        for name in of_kind {
            match members.get(name) {
                None => self.faults.push(Fault::Missing((*name).to_owned())),
                Some(value) => {
                    let is_padded = *name != "k";
                    let is_good = match value.text() {
                        Some(_) if *name == "crv" => true,
                        Some(text) => base64url(text, is_padded).is_some(),
                        None => false,
                    };
                    if !is_good {
                        self.faults.push(Fault::Member((*name).to_owned()));
                    }
                }
            }
        }
        if text("kty") != Some("oct") && PRIVATE.iter().any(|name| members.get(name).is_some()) {
            self.faults.push(Fault::Private);
        }
        let known = self
            .algorithm
            .as_deref()
            .map(|name| ALGORITHMS.contains(&name));
        if let (Some(false), Some(name)) = (known, &self.algorithm) {
            self.faults
                .push(Fault::Unsupported("algorithm", name.clone()));
        }
        if let (Some(kind @ ("EC" | "OKP")), Some(curve)) = (text("kty"), text("crv")) {
            let is_known = match kind {
                "EC" => Curve::of(curve).is_some(),
                _ => curve == "Ed25519",
            };
            if !is_known {
                self.faults
                    .push(Fault::Unsupported("curve", curve.to_owned()));
                return;
            }
        }
        self.material = members.material();
        if let Some(material) = &self.material {
            self.faults.extend(material.faults());
            let fits = |name: &String| material.algorithms().contains(&name.as_str());
            if known == Some(true) && !self.algorithm.as_ref().is_some_and(fits) {
                self.faults.push(Fault::Algorithm);
            }
        }
    }

    fn is_secret(&self) -> bool {
        matches!(self.material, Some(Material::Secret(_)))
    }

    /// Asserts that the key is the one that was read, and has no faults.
    fn confirm(&self, key: &Key) {
        well_formed(key);
        assert!(self.faults.is_empty(), "{key:?}: {self:?}");
        let material = self.material.as_ref().expect("a good key has material");
        let id = self.id.as_deref().unwrap_or(key.thumbprint());
        assert_eq!(key.id().as_str(), id);
        material.confirm(key);
        let algorithms = key.algorithms();
        let names: Vec<_> = algorithms.iter().map(|one| one.as_str()).collect();
        match &self.algorithm {
            Some(algorithm) => assert_eq!(names, [algorithm]),
            None => match material {
                Material::Secret(_) => assert_eq!(names.first(), material.algorithms().last()),
                Material::Edwards(_) => assert_eq!(names, material.algorithms()),
                _ => assert_eq!(
                    names.as_slice(),
                    material.algorithms().get(..1).expect("one")
                ),
            },
        }
    }
}

struct Members<'a>(&'a [(String, Node)]);

impl Members<'_> {
    /// `null` and empty values count as absent.
    fn get(&self, name: &str) -> Option<&Node> {
        member(self.0, name).filter(|value| match value {
            Node::Null => false,
            Node::Text(text) => !text.is_empty(),
            Node::List(items) => !items.is_empty(),
            Node::Object(_) | Node::Bool(_) | Node::Number(_) => true,
        })
    }

    /// The faults in `use` and `key_ops`.
    fn usage(&self) -> Option<Fault> {
        let usage = self.get("use").and_then(Node::text);
        if !matches!(usage, None | Some("sig" | "enc")) {
            return Some(Fault::Usage);
        }
        let Some(operations) = self.get("key_ops") else {
            return (usage == Some("enc")).then_some(Fault::Encryption);
        };
        let operations = match operations {
            Node::List(_) => operations.texts(),
            _ => None,
        };
        let different = operations.filter(|operations| {
            let mut places = operations.iter().enumerate();
            places.all(|(at, one)| !operations.iter().take(at).any(|before| before == one))
        });
        let Some(operations) = different else {
            return Some(Fault::Member("key_ops".to_owned()));
        };
        let signs = operations.contains(&"verify")
            && operations
                .iter()
                .all(|one| matches!(*one, "verify" | "sign"));
        let encrypts = operations.iter().all(|one| ENCRYPTION.contains(one));
        match usage {
            None | Some("enc") if encrypts => Some(Fault::Encryption),
            None | Some("sig") if signs => None,
            _ => Some(Fault::Usage),
        }
    }

    fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        base64url(self.get(name)?.text()?, name != "k")
    }

    fn material(&self) -> Option<Material> {
        let bytes = |name| self.bytes(name);
        Some(match self.get("kty")?.text()? {
            "RSA" => Material::Rsa(bytes("n")?, bytes("e")?),
            "EC" => Material::Ec(
                Curve::of(self.get("crv")?.text()?)?,
                bytes("x")?,
                bytes("y")?,
            ),
            "OKP" => Material::Edwards(bytes("x")?),
            "oct" => Material::Secret(bytes("k")?),
            _ => return None,
        })
    }
}

fn members_of(node: &Node) -> Option<&[(String, Node)]> {
    match node {
        Node::Object(members) => Some(members),
        _ => None,
    }
}

/// RFC 4648, section 5: without padding, or with the right amount of it.
fn base64url(text: &str, is_padded: bool) -> Option<Vec<u8>> {
    let mut text = text;
    if is_padded && text.len().is_multiple_of(4) {
        for _ in 0..2 {
            text = text.strip_suffix('=').unwrap_or(text);
        }
    }
    let (mut sum, mut held, mut bytes) = (0_u32, 0_u32, Vec::new());
    for character in text.bytes() {
        let digit = BASE64URL.iter().position(|known| *known == character)?;
        sum = sum << 6 | u32::try_from(digit).ok()?;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.extend(u8::try_from(sum >> held));
            sum &= (1 << held) - 1;
        }
    }
    // The remaining bits are fewer than a character has, and zero.
    (held < 6 && sum == 0).then_some(bytes)
}

/// Members of a private key (RFC 7518, section 6, and of key types to come).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"];

const ENCRYPTION: [&str; 6] = [
    "encrypt",
    "decrypt",
    "wrapKey",
    "unwrapKey",
    "deriveKey",
    "deriveBits",
];

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

const NO_JSON: &str = "not JSON at byte";
const TWICE: &str = "occurs twice in one object";
const TOO_LARGE: &str = "is beyond the limit";
const RESERVED: &str = "a member has a reserved name";

/// The number of members of all keys of a set.
const SET_MEMBERS: usize = 1_000_000;
