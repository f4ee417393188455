//! [`MaxTokenSize`]: how long a token may be.

use crate::error::config::ConfigError;

/// Maximum size of a token in bytes. Default: 16 KiB (16 384 bytes).
///
/// A longer token is rejected before any of it is decoded: with 400 if it came with a request. The
/// limit is meant for the compact form, as it stands behind `Bearer`.
///
/// Some issuers write every role of a person into the token, and so exceed the default. Everything
/// between the client and this layer has a limit of its own, too: nginx and many load balancers
/// accept 8 KiB for one header field, and an HTTP/2 server of hyper accepts 16 KiB for all of them
/// (`max_header_list_size`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MaxTokenSize(usize);

impl MaxTokenSize {
    /// A maximum of this many bytes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::MaxTokenSize`] for 0, and above 64 KiB (65 536 bytes).
    pub const fn new(bytes: usize) -> Result<Self, ConfigError> {
        if bytes == 0 || bytes > LARGEST {
            return Err(ConfigError::MaxTokenSize(bytes));
        }
        Ok(Self(bytes))
    }

    pub(crate) const fn bytes(self) -> usize {
        self.0
    }
}

impl Default for MaxTokenSize {
    fn default() -> Self {
        Self(16 * 1024)
    }
}

/// No setting accepts a longer token than this.
pub(crate) const LARGEST: usize = 64 * 1024;
