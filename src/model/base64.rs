//! Base64 in the standard alphabet, padded. Pure.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn value_of(byte: u8) -> Option<u32> {
    let at = ALPHABET.iter().position(|own| *own == byte)?;
    u32::try_from(at).ok()
}

/// The base64 form of bytes.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .chain([0, 0].iter())
            .take(3)
            .fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        for at in 0..4 {
            let index = bits >> (18 - 6 * at) & 63;
            let used = at <= chunk.len();
            out.push(if used {
                char::from(ALPHABET[index])
            } else {
                '='
            });
        }
    }
    out
}

/// The bytes behind base64; the padding is required, and nothing else may stand there.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let quads = text.as_bytes().chunks(4);
    let last = quads.len().checked_sub(1);
    for (at, quad) in quads.enumerate() {
        let pads = quad.iter().rev().take_while(|byte| **byte == b'=').count();
        if quad.len() != 4 || pads > 2 || (pads > 0 && Some(at) != last) {
            return None;
        }
        let mut bits = 0_u32;
        for byte in &quad[..4 - pads] {
            bits = bits << 6 | value_of(*byte)?;
        }
        bits <<= 6 * pads;
        out.extend_from_slice(&bits.to_be_bytes()[1..4 - pads]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_forms_are_those_of_the_standard() {
        for (text, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(encode(text.as_bytes()), encoded);
            assert_eq!(decode(encoded).as_deref(), Some(text.as_bytes()));
        }
        for bad in ["Zg", "Zg=", "Zg==Zg==", "====", "Z===", "Zm9v\n", "_w=="] {
            assert!(decode(bad).is_none(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
    }
}
