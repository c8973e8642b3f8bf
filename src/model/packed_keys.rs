//! Sorted keys and their values in little memory: neighbours in one directory have its path once. Pure.
//!
//! A map with each key and value on its own takes six times the memory, most of it for pointers, counters and what the allocator
//! rounds up. Here the keys stand one after the other in blocks of some hundred bytes, which copies share. A look-up finds the
//! block by halves and reads it from its start; a change makes one block anew.
//!
//! ```text
//! entry = head, [length of the directory, directory], name, length of the value, value
//! head  = twice the length of the name, plus one if the directory follows; else it is that of the entry before
//! ```
//!
//! The directory ends with the last slash of the key. Lengths are numbers of seven bits a byte, the lowest first.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use super::key::Key;

/// A block with more bytes is divided.
const MOST_BYTES: usize = 512;
/// A block is filled up to here when many keys come at once.
const FILL_BYTES: usize = 256;
/// A block with fewer bytes is joined with its neighbours, if they have room in one.
const LEAST_BYTES: usize = 128;

/// Keys and values, sorted by key.
#[derive(Debug, Clone, Default)]
pub struct PackedKeys {
    /// None of them is empty.
    blocks: Vec<Block>,
    len: usize,
}

/// What [`PackedKeys::put`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The key has had this value before.
    Same,
    /// The key has another value now.
    Replaced,
    /// The key is new.
    Added,
}

impl PartialEq for PackedKeys {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.all().eq(other.all())
    }
}

impl Eq for PackedKeys {}

impl PackedKeys {
    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        let block = self.blocks.get(self.block_of(key))?;
        let found = block.find(key);
        found.is_there.then(|| found.rest.value())
    }

    /// All keys, in order.
    #[must_use]
    pub fn all(&self) -> Iter<'_> {
        self.starting_at("")
    }

    /// The keys from this one on, in order.
    #[must_use]
    pub fn starting_at(&self, key: &str) -> Iter<'_> {
        let mut blocks = self
            .blocks
            .get(self.block_of(key)..)
            .unwrap_or_default()
            .iter();
        let block = blocks.next().map(|block| block.find(key).rest);
        let block = block.unwrap_or_default();
        Iter { blocks, block }
    }

    /// Gives a key this value.
    pub fn put(&mut self, key: &str, value: &[u8]) -> Put {
        let at = self.block_of(key);
        let Some(block) = self.blocks.get(at) else {
            let mut only = Writer::default();
            only.push(split(key), value);
            self.blocks.push(only.finish());
            self.len = 1;
            return Put::Added;
        };
        let found = block.find(key);
        if found.is_there && found.rest.value() == value {
            return Put::Same;
        }
        let is_there = found.is_there;
        let changed = block.with(&found, Some((split(key), value)));
        self.replace(at, changed);
        if is_there {
            return Put::Replaced;
        }
        self.len += 1;
        Put::Added
    }

    /// Removes a key; tells whether it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        let at = self.block_of(key);
        let Some(block) = self.blocks.get(at) else {
            return false;
        };
        let found = block.find(key);
        if !found.is_there {
            return false;
        }
        let changed = block.with(&found, None);
        self.replace(at, changed);
        self.len -= 1;
        true
    }

    /// Which block has this key, if any has.
    fn block_of(&self, key: &str) -> usize {
        let begins_before = |block: &Block| block.first() <= key.as_bytes();
        self.blocks.partition_point(begins_before).saturating_sub(1)
    }

    /// Joins a block with the next one, if both have room in one.
    fn join(&mut self, at: usize) {
        if let Some([one, next]) = self.blocks.get(at..at + 2)
            && one.0.len() + next.0.len() <= MOST_BYTES
        {
            let both = pack(one.entries().chain(next.entries()), MOST_BYTES);
            self.blocks.splice(at..at + 2, both);
        }
    }

    /// Puts a changed block in its place, divided or joined with its neighbours as its size demands.
    fn replace(&mut self, at: usize, changed: Writer) {
        let size = changed.bytes.len();
        if size == 0 {
            self.blocks.remove(at);
            return;
        }
        let block = changed.finish();
        if size > MOST_BYTES {
            self.blocks.splice(at..=at, pack(block.entries(), size / 2));
            return;
        }
        self.blocks[at] = block;
        if size < LEAST_BYTES {
            self.join(at);
            self.join(at.saturating_sub(1));
        }
    }
}

/// Collects keys that are sorted and different.
impl<'a> FromIterator<(KeyRef<'a>, &'a [u8])> for PackedKeys {
    fn from_iter<I: IntoIterator<Item = (KeyRef<'a>, &'a [u8])>>(entries: I) -> Self {
        let mut len = 0;
        let counted = entries.into_iter().inspect(|_| len += 1);
        let blocks = pack(counted, FILL_BYTES);
        Self { blocks, len }
    }
}

/// Makes blocks of these entries, each of which ends when it has `fill` bytes.
fn pack<'a>(entries: impl Iterator<Item = (KeyRef<'a>, &'a [u8])>, fill: usize) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut writer = Writer::default();
    for (key, value) in entries {
        if writer.bytes.len() >= fill {
            blocks.push(std::mem::take(&mut writer).finish());
        }
        writer.push(key, value);
    }
    if !writer.bytes.is_empty() {
        blocks.push(writer.finish());
    }
    blocks
}

/// A key in its two parts: the directory with its slash, and the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRef<'t> {
    dir: &'t [u8],
    name: &'t [u8],
}

/// Divides a key after its last slash.
#[must_use]
pub fn split(key: &str) -> KeyRef<'_> {
    let (dir, name) = key
        .as_bytes()
        .split_at(key.rfind('/').map_or(0, |at| at + 1));
    KeyRef { dir, name }
}

impl<'t> KeyRef<'t> {
    /// The whole key.
    #[must_use]
    pub fn to_key(self) -> Key {
        self.text().into()
    }

    /// The whole key as text.
    #[must_use]
    pub fn text(self) -> String {
        let mut text = String::with_capacity(self.dir.len() + self.name.len());
        self.append_to(&mut text);
        text
    }

    /// Appends the whole key.
    pub fn append_to(self, text: &mut String) {
        text.push_str(utf8(self.dir));
        text.push_str(utf8(self.name));
    }

    /// What follows `start` in the key, if it begins with that.
    #[must_use]
    pub fn strip_prefix(self, start: &str) -> Option<Cow<'t, str>> {
        let start = start.as_bytes();
        if let Some(below) = self.dir.strip_prefix(start) {
            return Some(match below {
                [] => utf8(self.name).into(),
                below => format!("{}{}", utf8(below), utf8(self.name)).into(),
            });
        }
        let name = start.strip_prefix(self.dir)?;
        Some(utf8(self.name.strip_prefix(name)?).into())
    }

    /// Whether the key begins with `start`.
    #[must_use]
    pub fn starts_with(self, start: &str) -> bool {
        let start = start.as_bytes();
        let in_name = || start.strip_prefix(self.dir);
        self.dir.starts_with(start) || in_name().is_some_and(|start| self.name.starts_with(start))
    }

    /// Whether the key is this path or lies below it.
    #[must_use]
    pub fn is_under(self, path: &str) -> bool {
        let path = path.as_bytes();
        let below = self.dir.strip_prefix(path);
        let below = below.map(|below| if below.is_empty() { self.name } else { below });
        let in_name = || self.name.strip_prefix(path.strip_prefix(self.dir)?);
        let below = below.or_else(in_name);
        below.is_some_and(|below| below.is_empty() || below.starts_with(b"/"))
    }

    /// How the key compares with another one.
    #[must_use]
    pub fn cmp_to(self, key: &str) -> Ordering {
        let key = key.as_bytes();
        match key.strip_prefix(self.dir) {
            Some(name) => self.name.cmp(name),
            // That the key ends within the directory makes the directory the greater one.
            None => self.dir.cmp(key),
        }
    }
}

/// The parts of a key are text, since keys are and their parts end at a slash.
fn utf8(part: &[u8]) -> &str {
    std::str::from_utf8(part).unwrap_or_default()
}

#[derive(Debug, Clone)]
struct Block(Arc<[u8]>);

/// Where a key is in a block, or would be.
struct Found<'b> {
    /// The rest of the block from there on.
    rest: Rest<'b>,
    is_there: bool,
}

impl Block {
    fn entries(&self) -> Rest<'_> {
        Rest {
            bytes: &self.0,
            dir: &[],
        }
    }

    /// The first key, whose directory and name stand one after the other.
    fn first(&self) -> &[u8] {
        let mut rest = self.entries();
        let head = rest.take_number();
        let dir = rest.take_number();
        rest.cut(dir + head / 2)
    }

    fn find(&self, key: &str) -> Found<'_> {
        let key = key.as_bytes();
        let mut rest = self.entries();
        // What follows the directory in the key, if the entry is in a directory that the key begins with.
        let mut wanted = None;
        loop {
            let before = rest.clone();
            let found = |is_there| Found {
                rest: before,
                is_there,
            };
            let Some(head) = rest.take_head() else {
                return found(false);
            };
            if head.has_dir {
                let (start, below) = key.split_at(rest.dir.len().min(key.len()));
                // That the key ends within the directory makes the directory the greater one.
                wanted = match rest.dir.cmp(start) {
                    Ordering::Less => None,
                    Ordering::Equal => Some(below),
                    Ordering::Greater => return found(false),
                };
            }
            let name = rest.cut(head.name);
            rest.take_value();
            match wanted.map(|wanted| name.cmp(wanted)) {
                Some(Ordering::Equal) => return found(true),
                Some(Ordering::Greater) => return found(false),
                Some(Ordering::Less) | None => {}
            }
        }
    }

    /// The block with `new` at the place that was found, and without what was found there.
    fn with(&self, found: &Found<'_>, new: Option<(KeyRef<'_>, &[u8])>) -> Writer {
        let mut rest = found.rest.clone();
        if found.is_there {
            rest.next();
        }
        let before = self.0.len() - found.rest.bytes.len();
        let mut writer = Writer {
            bytes: Vec::with_capacity(self.0.len() + 64),
            dir: found.rest.dir.to_vec(),
        };
        writer.bytes.extend_from_slice(&self.0[..before]);
        // The next entry may have had the directory of the one that is replaced; those after it have its own.
        for (key, value) in new.into_iter().chain(rest.next()) {
            writer.push(key, value);
        }
        writer.bytes.extend_from_slice(rest.bytes);
        writer
    }
}

/// What stands before a name.
struct Head {
    /// Its length.
    name: usize,
    /// Whether the directory has changed.
    has_dir: bool,
}

/// Entries of a block from some place on.
#[derive(Debug, Clone, Default)]
struct Rest<'b> {
    bytes: &'b [u8],
    /// The directory of the entry before.
    dir: &'b [u8],
}

impl<'b> Rest<'b> {
    /// The value of the next entry.
    fn value(&self) -> &'b [u8] {
        let next = self.clone().next();
        next.map_or(&[], |(_, value)| value)
    }

    /// Takes what stands before a name, with the directory if there is one.
    #[inline]
    fn take_head(&mut self) -> Option<Head> {
        if self.bytes.is_empty() {
            return None;
        }
        let number = self.take_number();
        let head = Head {
            name: number / 2,
            has_dir: number % 2 == 1,
        };
        if head.has_dir {
            let length = self.take_number();
            self.dir = self.cut(length);
        }
        Some(head)
    }

    #[inline]
    fn take_value(&mut self) -> &'b [u8] {
        let length = self.take_number();
        self.cut(length)
    }

    #[inline]
    fn take_number(&mut self) -> usize {
        match self.bytes {
            // Nearly all are as small.
            [byte @ 0..0x80, rest @ ..] => {
                self.bytes = rest;
                usize::from(*byte)
            }
            _ => self.take_large_number(),
        }
    }

    fn take_large_number(&mut self) -> usize {
        let (mut number, mut shift) = (0, 0);
        while let Some((byte, rest)) = self.bytes.split_first() {
            self.bytes = rest;
            number |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if *byte < 0x80 {
                break;
            }
        }
        number
    }

    #[inline]
    fn cut(&mut self, length: usize) -> &'b [u8] {
        let (taken, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        taken
    }
}

impl<'b> Iterator for Rest<'b> {
    type Item = (KeyRef<'b>, &'b [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let head = self.take_head()?;
        let name = self.cut(head.name);
        let value = self.take_value();
        let dir = self.dir;
        Some((KeyRef { dir, name }, value))
    }
}

/// A block that is being written.
#[derive(Debug, Default)]
struct Writer {
    bytes: Vec<u8>,
    /// The directory of the last entry.
    dir: Vec<u8>,
}

impl Writer {
    fn push(&mut self, key: KeyRef<'_>, value: &[u8]) {
        let has_dir = self.bytes.is_empty() || self.dir != key.dir;
        self.push_number(key.name.len() * 2 + usize::from(has_dir));
        if has_dir {
            self.push_number(key.dir.len());
            self.bytes.extend_from_slice(key.dir);
            self.dir.clear();
            self.dir.extend_from_slice(key.dir);
        }
        self.bytes.extend_from_slice(key.name);
        self.push_number(value.len());
        self.bytes.extend_from_slice(value);
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "seven bits are taken at a time"
    )]
    fn push_number(&mut self, mut number: usize) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    fn finish(self) -> Block {
        Block(self.bytes.into())
    }
}

/// The keys from some place on, in order.
#[derive(Debug, Clone)]
pub struct Iter<'t> {
    blocks: std::slice::Iter<'t, Block>,
    block: Rest<'t>,
}

impl<'t> Iterator for Iter<'t> {
    type Item = (KeyRef<'t>, &'t [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let next = self.block.next();
            if next.is_some() {
                return next;
            }
            self.block = self.blocks.next()?.entries();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Model = BTreeMap<String, Vec<u8>>;

    fn packed(model: &Model) -> PackedKeys {
        let entries = model.iter();
        entries
            .map(|(key, value)| (split(key), &value[..]))
            .collect()
    }

    fn texts<'t>(entries: impl Iterator<Item = (KeyRef<'t>, &'t [u8])>) -> Vec<(String, Vec<u8>)> {
        let text = |(key, value): (KeyRef<'_>, &[u8])| (key.to_key().to_string(), value.to_vec());
        entries.map(text).collect()
    }

    fn keys() -> impl Strategy<Value = String> {
        // Few of them, so that many are met again: nested directories, names that sort between them, other scripts.
        prop_oneof![
            10 => "/[ab]{1,2}(/[ab-]{0,2}){0,3}",
            2 => "[/é-]{0,3}",
            1 => "/[a-c]/[a-z]{130,300}",
        ]
    }

    fn values() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            20 => prop::collection::vec(any::<u8>(), 0..3),
            1 => prop::collection::vec(any::<u8>(), 120..3_000),
        ]
    }

    #[derive(Debug, Clone)]
    enum Deed {
        Put(String, Vec<u8>),
        Remove(String),
    }

    fn deeds() -> impl Strategy<Value = Vec<Deed>> {
        let deed = prop_oneof![
            3 => (keys(), values()).prop_map(|(key, value)| Deed::Put(key, value)),
            2 => keys().prop_map(Deed::Remove),
        ];
        prop::collection::vec(deed, 0..200)
    }

    proptest! {
        #[test]
        fn they_are_a_sorted_map(
            first in prop::collection::btree_map(keys(), values(), 0..200),
            deeds in deeds(),
            asked in prop::collection::vec(keys(), 1..20),
        ) {
            let mut model = first;
            let mut packed_keys = packed(&model);
            let mut copies = Vec::new();
            for deed in deeds {
                let as_before = model.clone();
                copies.push((packed_keys.clone(), as_before));
                match deed {
                    Deed::Put(key, value) => {
                        let put = packed_keys.put(&key, &value);
                        let before = model.insert(key, value.clone());
                        let expected = match before {
                            None => Put::Added,
                            Some(before) if before == value => Put::Same,
                            Some(_) => Put::Replaced,
                        };
                        prop_assert_eq!(put, expected);
                    }
                    Deed::Remove(key) => {
                        prop_assert_eq!(packed_keys.remove(&key), model.remove(&key).is_some());
                    }
                }
            }
            prop_assert_eq!(packed_keys.len(), model.len());
            prop_assert_eq!(packed_keys.is_empty(), model.is_empty());
            prop_assert_eq!(&packed_keys, &packed(&model));
            let all: Vec<_> = model.clone().into_iter().collect();
            prop_assert_eq!(texts(packed_keys.all()), all);
            for key in asked.iter().chain(model.keys()) {
                prop_assert_eq!(packed_keys.get(key), model.get(key).map(Vec::as_slice));
                let from: Vec<_> = model.range(key.clone()..).map(|(k, v)| (k.clone(), v.clone())).collect();
                prop_assert_eq!(texts(packed_keys.starting_at(key)), from);
            }
            for block in &packed_keys.blocks {
                prop_assert!(!block.0.is_empty());
            }
            // What a copy shares with them does not change.
            for (copy, model) in copies.iter().rev().take(3) {
                prop_assert_eq!(copy, &packed(model));
            }
        }

        #[test]
        fn a_key_in_two_parts_is_the_key(key in keys(), other in keys()) {
            let parts = split(&key);
            prop_assert_eq!(&*parts.to_key(), key.as_str());
            prop_assert_eq!(parts.cmp_to(&other), key.cmp(&other));
            prop_assert_eq!(parts.starts_with(&other), key.starts_with(&other));
            let is_under = key.strip_prefix(&other);
            let is_under = is_under.is_some_and(|below| below.is_empty() || below.starts_with('/'));
            prop_assert_eq!(parts.is_under(&other), is_under);
            let below = parts.strip_prefix(&other);
            prop_assert_eq!(below.as_deref(), key.strip_prefix(other.as_str()));
        }
    }

    #[test]
    fn blocks_stay_between_their_sizes() {
        let mut many = PackedKeys::default();
        for n in 0..2_000 {
            many.put(
                &format!("/services/web/{:04}/ip", n * 7 % 2_000),
                b"10.0.0.1",
            );
        }
        let size = |many: &PackedKeys| many.blocks.iter().map(|block| block.0.len()).sum::<usize>();
        assert!(many.blocks.iter().all(|block| block.0.len() <= MOST_BYTES));
        assert!(
            size(&many) / many.blocks.len() > MOST_BYTES / 3,
            "{}",
            many.blocks.len()
        );
        for n in 0..2_000 {
            if n % 20 > 0 {
                many.remove(&format!("/services/web/{n:04}/ip"));
            }
        }
        assert_eq!(many.len(), 100);
        assert!(
            size(&many) / many.blocks.len() > LEAST_BYTES,
            "{}",
            many.blocks.len()
        );
    }
}
