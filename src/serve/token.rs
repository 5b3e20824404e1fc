//! The token of a server that others can reach.

use sha2::{Digest as _, Sha256};

use crate::domain::configuration::sha256_hex;

/// The shortest token, in characters: 16 random ones of an alphabet of 64 are 96 bits.
pub const SHORTEST_TOKEN: usize = 16;

/// What whoever asks has to know. It is kept as a digest alone.
#[derive(Clone)]
pub struct Token {
    digest: [u8; 32],
    /// What the cookie holds: it follows from the token, and the token does not follow from it.
    cookie: String,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// The token of this text.
    ///
    /// # Errors
    /// Why it is none, in one sentence: it is short, or has characters that do not go into a header.
    pub fn new(text: &str) -> Result<Self, String> {
        if !text.chars().all(|character| character.is_ascii_graphic()) {
            return Err("a token has ASCII letters, digits and signs alone".to_owned());
        }
        if text.len() < SHORTEST_TOKEN {
            return Err(format!("a token has {SHORTEST_TOKEN} characters or more"));
        }
        let cookie = sha256_hex(["benchdb cookie of ", text].concat().as_bytes());
        Ok(Self { digest: Sha256::digest(text.as_bytes()).into(), cookie })
    }

    /// Whether this is the token.
    pub(super) fn is(&self, text: &str) -> bool {
        same(&self.digest, &Sha256::digest(text.as_bytes()).into())
    }

    /// What a browser that has shown the token gets to keep.
    pub(super) fn cookie(&self) -> &str {
        &self.cookie
    }

    /// Whether a browser got this from us.
    pub(super) fn is_cookie(&self, text: &str) -> bool {
        same(&Sha256::digest(self.cookie.as_bytes()).into(), &Sha256::digest(text.as_bytes()).into())
    }
}

/// Compares digests in a time that does not depend on where they differ.
fn same(left: &[u8; 32], right: &[u8; 32]) -> bool {
    std::hint::black_box(left.iter().zip(right).fold(0, |differs, (one, other)| differs | (one ^ other))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_itself_and_nothing_else() {
        let token = Token::new("0123456789abcdef").unwrap();
        assert!(token.is("0123456789abcdef"));
        for other in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeF"] {
            assert!(!token.is(other), "{other}");
        }
        assert!(token.is_cookie(token.cookie()) && !token.is_cookie("0123456789abcdef"));
        assert!(!token.is(token.cookie()));
    }

    #[test]
    fn a_short_token_is_refused_and_none_is_told() {
        assert!(Token::new("0123456789abcde").unwrap_err().contains("16"));
        assert!(Token::new("0123456789abcde f").is_err());
        assert!(Token::new("0123456789abcdeé").is_err());
        assert_eq!(format!("{:?}", Token::new("0123456789abcdef").unwrap()), "Token");
    }
}
