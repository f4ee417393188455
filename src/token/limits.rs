//! [`MaxTokenSize`]: the maximum size of a token.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::config::ConfigError;

/// Maximum size of a token in bytes. Default: 16 KiB (16 384 bytes).
///
/// The limit applies to the compact form of the token, the text after `Bearer`. A longer token is
/// rejected before any part of it is decoded, with 400 if it came with a request.
///
/// Some issuers write every role of a person into the token, which can exceed the default. Each
/// component between the client and this layer has its own limit too: nginx and many load balancers
/// accept 8 KiB for one header field, and an HTTP/2 server of hyper accepts 16 KiB for all header
/// fields (`max_header_list_size`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MaxTokenSize(usize);

impl MaxTokenSize {
    /// Creates a maximum with this number of bytes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::MaxTokenSize`] if the number is 0 or above 64 KiB (65 536 bytes).
    pub const fn new(bytes: usize) -> Result<Self, ConfigError> {
        if bytes == 0 || bytes > LARGEST {
            return Err(ConfigError::MaxTokenSize { input: bytes });
        }
        Ok(Self(bytes))
    }

    pub(crate) const fn bytes(self) -> usize {
        self.0
    }
}

/// A number of bytes.
impl<'de> Deserialize<'de> for MaxTokenSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(usize::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// A number of bytes.
impl Serialize for MaxTokenSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Default for MaxTokenSize {
    fn default() -> Self {
        Self(16 * 1024)
    }
}

/// The largest size that can be configured.
pub(crate) const LARGEST: usize = 64 * 1024;
