//! What a host makes of headers: the block in which it hands them over, and what it
//! does with the edits.

use cases::Request;
use mesh_filters_policy::{Edit, Headers};

/// Names and values, in order.
pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The headers as they are now.
pub fn pairs(headers: &Headers) -> Pairs {
    headers.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// The block that a host makes of such headers.
pub fn block(pairs: &Pairs) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).expect("a length").to_le_bytes();
    let mut block = number(pairs.len()).to_vec();
    for (name, value) in pairs {
        block.extend([number(name.len()), number(value.len())].concat());
    }
    for (name, value) in pairs {
        block.extend([name, b"\0".as_slice(), value, b"\0"].concat());
    }
    block
}

/// What Envoy does with an edit.
pub fn apply(edit: Edit, pairs: &mut Pairs) {
    match edit {
        Edit::Set(name, value) => {
            pairs.retain(|(it, _)| !it.eq_ignore_ascii_case(name.as_bytes()));
            pairs.push((name.into_bytes(), value));
        }
        Edit::Append(name, value) => pairs.push((name.into_bytes(), value)),
        Edit::Remove(name) => pairs.retain(|(it, _)| !it.eq_ignore_ascii_case(&name)),
    }
}

/// The headers of a case's request.
pub fn request_pairs(request: &Request) -> Pairs {
    let own =
        [(":method", &request.method), (":path", &request.path), (":authority", &request.host)];
    let own = own.into_iter().map(|(name, it)| (name.to_owned(), it.clone().into_bytes()));
    own.chain(request.headers()).map(|(name, it)| (name.into_bytes(), it)).collect()
}

/// A header's name as servers in the manner of CGI read it.
pub fn spelled(name: &[u8]) -> String {
    String::from_utf8_lossy(&name.to_ascii_lowercase()).replace('_', "-")
}
