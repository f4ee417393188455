//! Cookies and answers with tokens.
