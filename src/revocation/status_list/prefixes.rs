//! [`UrlPrefixes`]: one prefix of URLs, or several.

/// One or several URL prefixes: a string, or an array, a slice or a vector of strings.
///
/// Implemented by this crate only.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no prefix of URLs",
    note = "pass a string, or an array of strings: `[\"https://login.example.com/statuslists/\"]`"
)]
pub trait UrlPrefixes: sealed::Sealed {
    #[doc(hidden)]
    fn into_prefixes(self) -> Vec<String>;
}

mod sealed {
    #[expect(unnameable_types, reason = "nobody else can implement it")]
    pub trait Sealed {}
}

macro_rules! one {
    ($($prefix:ty),*) => {$(
        impl sealed::Sealed for $prefix {}

        impl UrlPrefixes for $prefix {
            fn into_prefixes(self) -> Vec<String> {
                vec![self.into()]
            }
        }
    )*};
}

macro_rules! several {
    ($($prefixes:ty $(, $length:ident)?);*) => {$(
        impl<T: AsRef<str> $(, const $length: usize)?> sealed::Sealed for $prefixes {}

        impl<T: AsRef<str> $(, const $length: usize)?> UrlPrefixes for $prefixes {
            fn into_prefixes(self) -> Vec<String> {
                self.iter().map(|prefix| prefix.as_ref().to_owned()).collect()
            }
        }
    )*};
}

one!(&str, &String, String);
several!([T; N], N; &[T; N], N; &[T]; Vec<T>);
