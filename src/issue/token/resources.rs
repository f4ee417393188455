//! [`Resources`]: which API a scope is for.

use crate::error::config::ConfigError;
use crate::issue::token::error::IssueError;
use crate::issuer::Audience;
use crate::scope::ScopeSet;

/// The API that tokens are for by default, and further ones with their scopes.
#[derive(Clone)]
pub(super) struct Resources {
    own: Resource,
    further: Vec<(Resource, ScopeSet)>,
}

#[derive(Clone)]
struct Resource {
    /// Its identifiers, each as a JSON string.
    ids: Vec<String>,
}

impl Resources {
    pub(super) fn new(audience: Audience) -> Self {
        Self {
            own: Resource::new(&audience),
            further: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, audience: Audience, scopes: ScopeSet) -> Result<(), ConfigError> {
        let reject = |reason| Err(ConfigError::Settings { reason });
        let added = Resource::new(&audience);
        // No token could have its scopes otherwise.
        if added.ids.len() != 1 {
            return reject(
                "a further API of a token issuer needs exactly one identifier".to_owned(),
            );
        }
        for (known, its_scopes) in std::iter::once((&self.own, None)).chain(
            self.further
                .iter()
                .map(|(known, scopes)| (known, Some(scopes))),
        ) {
            if let Some(id) = added.ids.iter().find(|id| known.ids.contains(id)) {
                return reject(format!("the token issuer has the API {id} already"));
            }
            let mut owned = its_scopes.into_iter().flat_map(ScopeSet::iter);
            if let Some(scope) = owned.find(|scope| scopes.iter().any(|added| added == *scope)) {
                return reject(format!(
                    "the scope {scope:?} belongs to two APIs of the token issuer"
                ));
            }
        }
        self.further.push((added, scopes));
        Ok(())
    }

    /// Writes the `aud` of a token with these scopes.
    pub(super) fn write(&self, scopes: &[&str], out: &mut Vec<u8>) -> Result<(), IssueError> {
        let owner = |scope: &str| {
            let found = self
                .further
                .iter()
                .position(|(_, owned)| owned.iter().any(|own| own == scope));
            found.map_or(0, |at| at.saturating_add(1))
        };
        let is_asked = |place| match scopes {
            [] => place == 0,
            scopes => scopes.iter().any(|scope| owner(scope) == place),
        };
        let all =
            std::iter::once(&self.own).chain(self.further.iter().map(|(resource, _)| resource));
        let asked = || {
            all.clone()
                .enumerate()
                .filter(|(at, _)| is_asked(*at))
                .map(|(_, resource)| resource)
        };
        // Each name of an API with several might be a different API, with another meaning of the scopes.
        if asked().any(|resource| resource.ids.is_empty())
            || (!scopes.is_empty() && asked().any(|resource| resource.ids.len() > 1))
        {
            return Err(IssueError::Audience {
                expected: "one identifier for the API of these scopes; name further APIs and their scopes with `TokenIssuer::resource`",
            });
        }
        let mut ids = asked()
            .flat_map(|resource| &resource.ids)
            .map(String::as_bytes);
        let (first, rest) = (ids.next().unwrap_or_default(), ids);
        let rest: Vec<_> = rest.collect();
        if rest.is_empty() {
            out.extend_from_slice(first);
            return Ok(());
        }
        out.push(b'[');
        out.extend_from_slice(first);
        for id in rest {
            out.push(b',');
            out.extend_from_slice(id);
        }
        out.push(b']');
        Ok(())
    }
}

impl Resource {
    fn new(audience: &Audience) -> Self {
        let ids = audience
            .ids()
            .map(|id| serde_json::Value::from(id).to_string());
        Self { ids: ids.collect() }
    }
}
