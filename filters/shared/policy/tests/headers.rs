//! Headers as a host hands them over, read and edited.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "code of tests"
)]

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use mesh_filters_policy::{Edit, Headers, MalformedHeaders, is_field_value};

/// The block of two pairs, written out by hand from the ABI's description.
const BLOCK: &[u8] = b"\x02\0\0\0\
    \x05\0\0\0\x02\0\0\0\
    \x03\0\0\0\x01\0\0\0\
    :path\0/a\0\
    x-a\0\xff\0";

fn pairs(headers: &Headers) -> Vec<(Vec<u8>, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

#[test]
fn a_block_gives_its_pairs_in_order_as_bytes() {
    let headers = Headers::from_block(BLOCK.to_vec()).unwrap();
    assert_eq!(
        pairs(&headers),
        [(b":path".to_vec(), b"/a".to_vec()), (b"x-a".to_vec(), b"\xff".to_vec())]
    );
    assert!(headers.into_edits().is_empty());
}

#[test]
fn an_empty_block_is_no_headers() {
    assert!(pairs(&Headers::from_block(Vec::new()).unwrap()).is_empty());
}

#[test]
fn a_block_that_is_cut_anywhere_is_refused() {
    for len in 1..BLOCK.len() {
        let cut = Headers::from_block(BLOCK[..len].to_vec());
        assert_eq!(cut.err(), Some(MalformedHeaders), "cut to {len} bytes");
    }
}

#[test]
fn lengths_that_overflow_are_refused() {
    let mut block = BLOCK.to_vec();
    block[..4].copy_from_slice(&[0xff; 4]);
    assert!(Headers::from_block(block).is_err());
    let mut block = BLOCK.to_vec();
    block[4..8].copy_from_slice(&[0xff; 4]);
    assert!(Headers::from_block(block).is_err());
}

#[test]
fn names_are_found_whatever_their_case() {
    let headers: Headers = [("X-A", "1"), ("x-b", "2"), ("x-a", "3")].into_iter().collect();
    assert_eq!(headers.values("x-a").collect::<Vec<_>>(), [b"1", b"3"]);
    assert_eq!(headers.first("x-A"), Some(b"1".as_slice()));
    assert_eq!(headers.first("x-c"), None);
}

#[test]
fn a_later_policy_sees_what_an_earlier_one_wrote() {
    let mut headers: Headers = [("x-a", "1"), ("x-a", "2"), ("x-b", "3")].into_iter().collect();
    headers.set("x-a", b"4".to_vec());
    headers.remove_if(|name| name == b"x-b");
    assert_eq!(pairs(&headers), [(b"x-a".to_vec(), b"4".to_vec())]);
    assert_eq!(
        headers.into_edits(),
        [Edit::Set("x-a".into(), b"4".to_vec()), Edit::Remove(b"x-b".to_vec())]
    );
}

#[test]
fn removing_what_is_not_there_costs_the_host_nothing() {
    let mut headers: Headers = [("x-a", "1")].into_iter().collect();
    headers.remove_if(|name| name == b"x-b");
    assert!(headers.into_edits().is_empty());
}

#[test]
fn one_removal_takes_every_value_of_a_name() {
    let mut headers: Headers = [("x-a", "1"), ("x-a", "2")].into_iter().collect();
    headers.remove_if(|name| name == b"x-a");
    assert_eq!(headers.into_edits(), [Edit::Remove(b"x-a".to_vec())]);
}

#[test]
fn a_field_value_holds_no_line_break_and_no_nul() {
    for good in ["", "a b", "a\tb", "Zo\u{eb}"] {
        assert!(is_field_value(good.as_bytes()), "{good:?}");
    }
    for bad in ["a\r\nx-admin: 1", "a\nb", "a\0b", "\u{7f}", "\u{1b}[2J"] {
        assert!(!is_field_value(bad.as_bytes()), "{bad:?}");
    }
}

#[cfg(not(target_family = "wasm"))]
mod properties {
    use mesh_filters_policy::Headers;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_block_makes_reading_panic(block in prop::collection::vec(any::<u8>(), 0..256)) {
            if let Ok(headers) = Headers::from_block(block) {
                headers.iter().count();
            }
        }
    }
}
