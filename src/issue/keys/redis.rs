//! [`RedisSigningKeys`]: shared keys in Redis or Valkey.

use std::fmt;
use std::time::Duration;

use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError};

use crate::error::config::ConfigError;
use crate::issue::keys::store::{
    SigningKeyStore, SigningKeyStoreError, SigningKeyStoreFuture, StoredKeys,
};
use crate::redis_node;

/// A [`SigningKeyStore`] in Redis or Valkey. The keys are stored in one hash, `{namespace}:signing-keys`,
/// without expiry.
///
/// A write is one script. The store is rarely used, so each call opens a new connection. In a cluster,
/// the client has the address of any node.
///
/// # Security
///
/// Redis contains the private keys as plain text, and so do its dumps, replicas and backups. Protect it with
/// an ACL and TLS, or keep the keys elsewhere with your own [`SigningKeyStore`]. Use a `maxmemory-policy`
/// that evicts nothing. If the keys are evicted, a running instance restores them, but an instance that
/// starts generates new keys, which other services do not know at once.
///
/// # Example
///
/// ```no_run
/// use tower_jwt_auth::Algorithm;
/// use tower_jwt_auth::issue::{RedisSigningKeys, SigningKeys};
///
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisSigningKeys::new(redis::Client::open("rediss://redis.internal:6379")?, "calendar")?;
/// let keys = SigningKeys::shared(Algorithm::ES256, store)?.connect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisSigningKeys {
    client: Client,
    key: String,
}

impl RedisSigningKeys {
    /// Creates a store that uses this client, which holds the address, the user, the password and the
    /// certificates. Instances with the same namespace share their keys. This opens no connection.
    ///
    /// # Errors
    ///
    /// [`ConfigError::SigningKeys`] if the namespace is empty, longer than 128 bytes, or has characters other
    /// than visible ASCII without braces.
    pub fn new(client: Client, namespace: &str) -> Result<Self, ConfigError> {
        if !redis_node::is_namespace(namespace) {
            return Err(ConfigError::SigningKeys {
                reason: redis_node::NAMESPACE.to_owned(),
            });
        }
        Ok(Self {
            client,
            key: format!("{{{namespace}}}:signing-keys"),
        })
    }

    async fn ask<T: FromRedisValue>(&self, command: Cmd) -> Result<T, SigningKeyStoreError> {
        let asking = async {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(TIMEOUT))
                .set_response_timeout(Some(TIMEOUT));
            let connecting = redis_node::connect(&self.client, &self.key, &config);
            command.query_async(&mut connecting.await?).await
        };
        asking.await.map_err(|error: RedisError| {
            let addr = self.client.get_connection_info().addr();
            SigningKeyStoreError::new(format_args!("{addr}: {error}"))
        })
    }
}

impl SigningKeyStore for RedisSigningKeys {
    fn load(&self) -> SigningKeyStoreFuture<'_, Option<StoredKeys>> {
        Box::pin(async move {
            let mut command = redis::cmd("HMGET");
            command.arg(&self.key).arg("version").arg("keys");
            match self.ask(command).await? {
                (None, None) => Ok(None),
                (Some(version), Some(keys)) => Ok(Some(StoredKeys::new(version, keys))),
                _ => Err(SigningKeyStoreError::new(
                    "the hash of the keys has no version or no keys",
                )),
            }
        })
    }

    fn save(&self, keys: StoredKeys, expected: Option<u64>) -> SigningKeyStoreFuture<'_, bool> {
        Box::pin(async move {
            let mut command = redis::cmd("EVAL");
            command.arg(SAVE).arg(1).arg(&self.key);
            command.arg(
                expected
                    .map(|version| version.to_string())
                    .unwrap_or_default(),
            );
            command.arg(keys.version()).arg(keys.as_bytes());
            self.ask(command).await
        })
    }
}

/// Prints the address and the key, without user and password.
impl fmt::Debug for RedisSigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = self.client.get_connection_info().addr();
        f.debug_struct("RedisSigningKeys")
            .field("key", &self.key)
            .field("address", &addr.to_string())
            .finish_non_exhaustive()
    }
}

/// Compares the version and writes.
const SAVE: &str = "\
if (redis.call('HGET', KEYS[1], 'version') or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'keys', ARGV[3])
return 1";
const TIMEOUT: Duration = Duration::from_secs(2);
