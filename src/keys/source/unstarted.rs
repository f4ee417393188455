//! The compiler message for a source that was not started, where a store is expected.

use crate::keys::store::KeyStore;

/// Not implemented for any type, so that no use of the conversions below compiles. A bound on the
/// source itself is not enough: the compiler would print the name of this trait and not the
/// message.
#[diagnostic::on_unimplemented(
    message = "`{Source}` has no keys yet, it has to be started",
    label = "expected a `KeyStore`",
    note = "for keys of an issuer, call `.connect().await?`, which waits for them, or `.connect_lazy()?`",
    note = "for keys in a file, call `.watch()?`, which reads it now, or `.watch_lazy()?`"
)]
#[expect(unnameable_types, reason = "it has no implementations")]
pub trait Started<Source> {
    fn store_of(source: Source) -> KeyStore;
}

macro_rules! only_when_started {
    ($source:ty) => {
        #[doc(hidden)]
        impl From<$source> for KeyStore
        where
            for<'never> (): Started<$source>,
        {
            fn from(source: $source) -> Self {
                <() as Started<$source>>::store_of(source)
            }
        }
    };
}

#[cfg(feature = "remote")]
only_when_started!(crate::keys::source::remote::RemoteKeys);
#[cfg(feature = "watch")]
only_when_started!(crate::keys::source::file::KeyFile);
