//! Whether a reason to reject a key is true, as another reader of its text sees it.

use super::document::{self, Node, member};
use crate::config_error::{ConfigError, KeyError};

/// Fails if the key shows that the reason is none.
pub(super) fn confirm(error: &ConfigError, text: &[u8]) {
    let ConfigError::Key(error) = error else {
        return;
    };
    let members = document::read(text);
    if let KeyError::Format(_) = error {
        // A text of another form, or a number or point that is none: judged where they are read.
        return;
    }
    let Ok(members) = members else {
        panic!(
            "{error}, of what is no object: {}",
            String::from_utf8_lossy(text)
        );
    };
    let value = |name: &str| member(&members, name).filter(|value| says_something(value));
    let kind = value("kty").and_then(Node::text);
    let is_true = match error {
        KeyError::Private => PRIVATE.iter().any(|name| value(name).is_some()),
        KeyError::Symmetric => kind == Some("oct"),
        KeyError::MissingMember(name) => value(name).is_none(),
        KeyError::Usage(_) => ["use", "key_ops"].iter().any(|name| value(name).is_some()),
        KeyError::Algorithm { .. } => value("alg").is_some(),
        KeyError::Size { .. } => matches!(kind, Some("RSA" | "oct")),
        KeyError::Unsupported(_) => {
            let is_known = matches!(kind, Some("RSA" | "EC" | "OKP" | "oct"));
            !is_known || ["alg", "crv"].iter().any(|name| value(name).is_some())
        }
        _ => true,
    };
    assert!(is_true, "{error}: {}", String::from_utf8_lossy(text));
}

/// `null` and what is empty say nothing.
fn says_something(value: &Node) -> bool {
    match value {
        Node::Null => false,
        Node::Text(text) => !text.is_empty(),
        Node::List(items) => !items.is_empty(),
        Node::Object(members) => !members.is_empty(),
        Node::Bool(_) | Node::Number(_) => true,
    }
}

/// Members of a private key (RFC 7518, section 6).
const PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];
