//! One view of a message's headers, read once and written back once.
//!
//! To cross into the host costs more than anything a policy does with a few
//! headers, so the host hands over all of them as one block, the policies read
//! and edit this copy, and the edits go out together. Values are bytes: a
//! client may send any.

use std::ops::Range;

/// The headers of one message, with the edits made so far.
///
/// Names are compared in lower case, as HTTP/2 and Envoy have them.
#[derive(Debug, Default)]
pub struct Headers {
    block: Vec<u8>,
    entries: Vec<Entry>,
    edits: Vec<Edit>,
}

#[derive(Debug)]
struct Entry {
    name: Bytes,
    value: Bytes,
}

/// Bytes of the host's block, or of our own.
#[derive(Debug)]
enum Bytes {
    Block(Range<usize>),
    Own(Vec<u8>),
}

impl Bytes {
    fn get<'a>(&'a self, block: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Block(range) => block.get(range.clone()).unwrap_or_default(),
            Self::Own(bytes) => bytes,
        }
    }
}

/// A change that the host is to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Replace every value of the header by this one.
    Set(String, Vec<u8>),
    /// Add a value to those that the header has.
    Append(String, Vec<u8>),
    /// Remove every value of the header.
    Remove(Vec<u8>),
}

/// The block was not laid out as the ABI says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedHeaders;

impl Headers {
    /// Reads the block in which a proxy-wasm host hands over a header map: the
    /// number of pairs, the two lengths of each pair, then each name and value
    /// with a NUL behind it; numbers are little-endian `u32`
    /// (proxy-wasm ABI 0.2.1, "Serialization").
    ///
    /// # Errors
    /// If a length does not fit the block.
    pub fn from_block(block: Vec<u8>) -> Result<Self, MalformedHeaders> {
        let entries = entries(&block).ok_or(MalformedHeaders)?;
        Ok(Self { block, entries, edits: Vec::new() })
    }

    /// Every value of a header, in order.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(|(candidate, _)| candidate.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The first value of a header.
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .find(|(candidate, _)| candidate.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// Every header, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|entry| (entry.name.get(&self.block), entry.value.get(&self.block)))
    }

    /// Replaces every value of a header by one. `value` must be a field value
    /// ([`is_field_value`]): a line break in one would start a new header for
    /// the upstream.
    pub fn set(&mut self, name: &str, value: Vec<u8>) {
        debug_assert!(is_field_value(&value), "not a field value");
        let block = &self.block;
        self.entries.retain(|entry| !entry.name.get(block).eq_ignore_ascii_case(name.as_bytes()));
        self.entries.push(Entry {
            name: Bytes::Own(name.as_bytes().to_vec()),
            value: Bytes::Own(value.clone()),
        });
        self.edits.push(Edit::Set(name.into(), value));
    }

    /// Adds a value to those that the header has. For the few headers that may stand
    /// several times and cannot be joined with commas, such as `set-cookie`
    /// (RFC 9110 section 5.3). `value` must be a field value.
    pub fn append(&mut self, name: &str, value: Vec<u8>) {
        debug_assert!(is_field_value(&value), "not a field value");
        self.entries.push(Entry {
            name: Bytes::Own(name.as_bytes().to_vec()),
            value: Bytes::Own(value.clone()),
        });
        self.edits.push(Edit::Append(name.into(), value));
    }

    /// Removes every header whose name `doomed` picks. Costs the host nothing
    /// where there is none.
    pub fn remove_if(&mut self, doomed: impl Fn(&[u8]) -> bool) {
        let (block, edits) = (&self.block, &mut self.edits);
        self.entries.retain(|entry| {
            let name = entry.name.get(block);
            if !doomed(name) {
                return true;
            }
            // One removal takes every value of the name.
            let edit = Edit::Remove(name.to_vec());
            if !edits.contains(&edit) {
                edits.push(edit);
            }
            false
        });
    }

    /// The changes since the headers were read, in order.
    pub fn into_edits(self) -> Vec<Edit> {
        self.edits
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let entries = pairs
            .into_iter()
            .map(|(name, value)| Entry {
                name: Bytes::Own(name.as_ref().to_vec()),
                value: Bytes::Own(value.as_ref().to_vec()),
            })
            .collect();
        Self { entries, ..Self::default() }
    }
}

fn entries(block: &[u8]) -> Option<Vec<Entry>> {
    if block.is_empty() {
        return Some(Vec::new());
    }
    let count = number(block, 0)?;
    let mut at = count.checked_mul(8)?.checked_add(4)?;
    if at > block.len() {
        return None;
    }
    let mut entries = Vec::with_capacity(count);
    for index in 0..count {
        let sizes = 4 + index * 8;
        let name = piece(block, &mut at, number(block, sizes)?)?;
        let value = piece(block, &mut at, number(block, sizes + 4)?)?;
        entries.push(Entry { name, value });
    }
    Some(entries)
}

fn number(block: &[u8], at: usize) -> Option<usize> {
    let bytes = block.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}

fn piece(block: &[u8], at: &mut usize, len: usize) -> Option<Bytes> {
    let end = at.checked_add(len)?;
    // The NUL must be there too.
    if end >= block.len() {
        return None;
    }
    let range = *at..end;
    *at = end + 1;
    Some(Bytes::Block(range))
}

/// Whether `value` may stand as a header's value: no control character but the
/// tab (RFC 9110 section 5.5). Bytes from 0x80 on are `obs-text` and may.
pub fn is_field_value(value: &[u8]) -> bool {
    value.iter().all(|&byte| byte == b'\t' || (byte >= 0x20 && byte != 0x7f))
}

/// Whether an upstream may read `name` as the header `managed`, which is in lower
/// case. CGI and WSGI servers turn `-` into `_`, so `x_user_id` would arrive as
/// `x-user-id`.
pub fn is_spelling_of(managed: &str, name: &[u8]) -> bool {
    let fold = |byte: &u8| {
        if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }
    };
    name.iter().map(fold).eq(managed.as_bytes().iter().map(fold))
}
