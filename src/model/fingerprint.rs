//! Numbers by which texts can be compared. Neither is a protection against an attacker, who could find a collision; nobody
//! gains anything by one here. Pure.

/// A name: the 64-bit FNV-1a hash of all parts in order. It is the same in every version and on every machine, since
/// names of files and instances are made of it.
#[must_use]
pub fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let bytes = parts.into_iter().flatten();
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A 64-bit hash of contents, which may be long: it reads eight bytes at a time. It matters where a part ends. A later
/// version may give another number, and then takes a content for another one once.
#[must_use]
pub fn content_hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    // Each step gives another hash for another word.
    let step = |hash: u64, word: u64| {
        let mixed = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 32)
    };
    parts.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, part| {
        let (words, rest) = part.as_chunks::<8>();
        let words = words.iter().map(|word| u64::from_le_bytes(*word));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let end = [u64::from_le_bytes(last), part.len() as u64];
        words.chain(end).fold(hash, step)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_one_that_is_written_down() {
        let of = |text: &str| fingerprint([text.as_bytes()]);
        // From the function's own table of test values.
        assert_eq!(of(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(of("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(of("foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(fingerprint([&b"foo"[..], b"bar"]), of("foobar"));
    }

    #[test]
    fn the_hash_of_a_content_depends_on_each_of_its_bytes_and_parts() {
        let text = b"server a 10.0.0.1:80 check\n".repeat(3);
        let hash = content_hash([&text[..]]);
        for at in 0..text.len() {
            let mut other = text.clone();
            other[at] ^= 1;
            assert_ne!(content_hash([&other[..]]), hash, "{at}");
            assert_ne!(content_hash([&text[..at]]), hash, "{at}");
            assert_ne!(content_hash([&text[..at], &text[at..]]), hash, "{at}");
        }
        assert_eq!(content_hash([&text[..]]), hash);
        assert_ne!(content_hash([&b"a"[..]]), content_hash([&b"a\0"[..]]));
    }
}
