//! [`SigningKeySettings`]: shared signing keys that are not connected yet.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::clock::{Clock, SystemClock};
use crate::error::config::ConfigError;
use crate::issue::keys::SigningKeys;
use crate::issue::keys::error::SigningKeyError;
use crate::issue::keys::ring::{Ring, unusable};
use crate::issue::keys::shared::Shared;
use crate::issue::keys::source;
use crate::issue::keys::store::SigningKeyStore;
use crate::keys::algorithm::Algorithm;
use crate::unwind::has_timers;

/// The settings of [`SigningKeys`] that instances share. [`connect`](Self::connect) loads the keys.
#[must_use = "call `connect().await?`"]
pub struct SigningKeySettings(Ring);

impl SigningKeySettings {
    pub(super) fn new(algorithm: Algorithm, store: impl SigningKeyStore) -> Self {
        let shared = Shared::new(store);
        Self(Ring::new(
            Some(algorithm),
            Some(shared),
            Arc::new(SystemClock),
        ))
    }

    /// Sets how long a key signs; see [`SigningKeys::rotate_every`]. A change applies only to keys
    /// that begin to sign later.
    ///
    /// # Errors
    ///
    /// The same as that method.
    pub fn rotate_every(self, period: Duration) -> Result<Self, ConfigError> {
        self.0.set_period(period)?;
        Ok(self)
    }

    /// Sets the publish lead; see [`SigningKeys::publish_lead`]. Instances read the store four times in this
    /// period, and more often after a failure.
    ///
    /// # Errors
    ///
    /// The same as that method.
    pub fn publish_lead(self, lead: Duration) -> Result<Self, ConfigError> {
        self.0.set_lead(lead)?;
        Ok(self)
    }

    /// Sets the clock; see [`SigningKeys::with_clock`].
    pub fn with_clock(self, clock: impl Clock) -> Self {
        self.0.set_clock(Arc::new(clock));
        self
    }

    /// Loads the keys, generates missing keys, and then follows the store in a task of the current
    /// runtime. The task ends when the keys and the store of [`SigningKeys::keys`] are dropped.
    ///
    /// # Errors
    ///
    /// [`ConfigError::SigningKeys`] if the store cannot be read or written, if its content cannot be used, or
    /// outside a tokio runtime with timers.
    pub async fn connect(self) -> Result<SigningKeys, ConfigError> {
        Handle::try_current()
            .map_err(|_| unusable("expected to be called inside of a tokio runtime".into()))?;
        if !has_timers() {
            return Err(unusable(
                "the tokio runtime has no timers: build it with `enable_time` or `enable_all`"
                    .into(),
            ));
        }
        let ring = Arc::new(self.0);
        let verifying = source::start(&ring)?;
        ring.show_in(&verifying);
        ring.refresh().await.map_err(|error| match error {
            SigningKeyError::Unavailable { reason } => unusable(reason),
            error => unusable(error.to_string()),
        })?;
        Ok(SigningKeys { ring, verifying })
    }
}

/// Implemented by nothing, so that no use of the conversion below compiles.
#[diagnostic::on_unimplemented(
    message = "`{Settings}` has no keys yet, it has to be connected",
    label = "expected `SigningKeys`",
    note = "call `.connect().await?`, which loads the keys: `SigningKeys::shared(algorithm, store)?.connect().await?`"
)]
#[expect(unnameable_types, reason = "it has no implementations")]
pub trait Connected<Settings> {
    fn keys_of(settings: Settings) -> SigningKeys;
}

#[doc(hidden)]
impl From<SigningKeySettings> for SigningKeys
where
    for<'never> (): Connected<SigningKeySettings>,
{
    fn from(settings: SigningKeySettings) -> Self {
        <() as Connected<SigningKeySettings>>::keys_of(settings)
    }
}

impl fmt::Debug for SigningKeySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeySettings")
            .field("rules", &self.0.rules())
            .finish_non_exhaustive()
    }
}
