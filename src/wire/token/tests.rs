use super::*;
use proptest::prelude::*;

const CLIENT: &str = "0b9f6c1e-3d0a-4f1e-9a55-2f1f7d5f4c11";
const DEVICE: &str = "24:0a:c4:1d:5e:90";
const NOW: u64 = 1_767_225_600;
const DAY: u64 = 24 * 3600;
/// The same digest made by Python's `hmac` with the key of [`keys`].
const TOKEN: &str = "ZRUuIdgi_YITjcFwDhvC5z3LOVmhvfG6wqAPjd5_ztU.1767225600";

fn secret(fill: &str) -> Box<[u8]> {
    fill.repeat(2).into_bytes().into()
}

fn keys() -> Keys {
    Keys::new(vec![secret("0123456789abcdef")], 0).unwrap()
}

#[test]
fn a_token_is_the_one_other_servers_make() {
    assert_eq!(issue(&keys(), CLIENT, DEVICE, NOW), TOKEN);
    assert_eq!(verify(&keys(), TOKEN, CLIENT, DEVICE, NOW), Ok(Standing::Valid));
}

#[test]
fn a_token_belongs_to_its_ids_in_their_case() {
    let verify = |client: &str, device: &str| verify(&keys(), TOKEN, client, device, NOW);
    assert_eq!(verify("other", DEVICE), Err(TokenFault::Forged));
    assert_eq!(verify(CLIENT, "24:0a:c4:1d:5e:91"), Err(TokenFault::Forged));
    assert_eq!(verify(CLIENT, &DEVICE.to_uppercase()), Err(TokenFault::Forged));
    assert_eq!(verify("", ""), Err(TokenFault::Forged));
}

#[test]
fn ids_cannot_be_shifted_across_the_separator() {
    let token = issue(&keys(), "a", "b|c", NOW);
    assert!(verify(&keys(), &token, "a|b", "c", NOW).is_err());
    assert!(verify(&keys(), &token, "a", "b|c", NOW).is_err());
    let token = issue(&keys(), "a|b", "c", NOW);
    assert!(verify(&keys(), &token, "a|b", "c", NOW).is_err());
}

#[test]
fn a_token_lives_thirty_days_and_a_week_of_grace() {
    let at = |now_s| verify(&keys(), TOKEN, CLIENT, DEVICE, now_s);
    assert_eq!(at(NOW + 30 * DAY), Ok(Standing::Valid));
    assert_eq!(at(NOW + 30 * DAY + 1), Ok(Standing::Grace));
    assert_eq!(at(NOW + 37 * DAY), Ok(Standing::Grace));
    assert_eq!(at(NOW + 37 * DAY + 1), Err(TokenFault::Expired));
    // Our clock was set back: a stamp from the future passes.
    assert_eq!(at(NOW - 400 * DAY), Ok(Standing::Valid));
    assert_eq!(at(0), Ok(Standing::Valid));
}

#[test]
fn a_key_that_was_rotated_out_no_longer_counts() {
    let new = secret("fedcba9876543210");
    let both = Keys::new(vec![new.clone(), secret("0123456789abcdef")], 0).unwrap();
    assert_eq!(verify(&both, TOKEN, CLIENT, DEVICE, NOW), Ok(Standing::Valid));
    let fresh = issue(&both, CLIENT, DEVICE, NOW);
    let only_new = Keys::new(vec![new], 0).unwrap();
    assert_eq!(verify(&only_new, &fresh, CLIENT, DEVICE, NOW), Ok(Standing::Valid));
    assert_eq!(verify(&only_new, TOKEN, CLIENT, DEVICE, NOW), Err(TokenFault::Forged));
}

#[test]
fn tokens_from_before_the_last_revocation_are_refused() {
    let revoked = Keys::new(vec![secret("0123456789abcdef")], NOW + 1).unwrap();
    assert_eq!(verify(&revoked, TOKEN, CLIENT, DEVICE, NOW + 2), Err(TokenFault::Revoked));
    let fresh = issue(&revoked, CLIENT, DEVICE, NOW + 1);
    assert_eq!(verify(&revoked, &fresh, CLIENT, DEVICE, NOW + 2), Ok(Standing::Valid));
}

#[test]
fn what_has_not_our_form_is_refused() {
    let (signature, stamp) = TOKEN.split_once('.').unwrap();
    let shapes = [
        String::new(),
        ".".into(),
        signature.into(),
        format!("{signature}."),
        format!(".{stamp}"),
        format!("{signature}.{stamp}.{stamp}"),
        format!("{signature}.+{stamp}"),
        format!("{signature}.-1"),
        format!("{signature}.99999999999999999999999"),
        format!("{signature}=.{stamp}"),
        format!("{}.{stamp}", &signature[..42]),
        format!("{signature}AAAA.{stamp}"),
        format!("{}.{stamp}", "A".repeat(5_000)),
        "test-token".into(),
        "None".into(),
        "eyJhbGciOiJub25lIn0.e30.".into(),
    ];
    for shape in shapes {
        assert_eq!(verify(&keys(), &shape, CLIENT, DEVICE, NOW), Err(TokenFault::Malformed), "{shape}");
    }
    // The stamp is signed as written: the same number written otherwise is another message.
    assert_eq!(verify(&keys(), &format!("{signature}.0{stamp}"), CLIENT, DEVICE, NOW), Err(TokenFault::Forged));
    assert_eq!(verify(&keys(), &format!("{signature}.{}", NOW + 1), CLIENT, DEVICE, NOW), Err(TokenFault::Forged));
}

#[test]
fn a_bearer_is_taken_out_of_its_header() {
    assert_eq!(bearer("Bearer abc"), Some("abc"));
    assert_eq!(bearer("  bearer  abc "), Some("abc"));
    assert_eq!(bearer("abc"), None);
    assert_eq!(bearer("Basic abc"), None);
    assert_eq!(bearer("Bearer "), None);
    assert_eq!(bearer(""), None);
}

#[test]
fn weak_keys_are_no_keys_and_debug_shows_none() {
    assert!(Keys::new(vec![], 0).is_none());
    assert!(Keys::new(vec![b"short".as_slice().into()], 0).is_none());
    let shown = format!("{:?}", keys());
    assert!(!shown.contains("48") && !shown.contains("0123"), "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn no_mutation_of_a_token_passes(at in 0usize..TOKEN.len(), to in "[ -~]", cut in 0usize..TOKEN.len()) {
        let mut text = TOKEN.to_owned();
        text.replace_range(at..=at, &to);
        if text != TOKEN {
            prop_assert!(verify(&keys(), &text, CLIENT, DEVICE, NOW).is_err(), "{}", text);
        }
        prop_assert!(verify(&keys(), &TOKEN[..cut], CLIENT, DEVICE, NOW).is_err());
    }

    #[test]
    fn noise_is_refused_without_a_panic(token in "\\PC{0,80}", client in "\\PC{0,20}", device in "\\PC{0,20}", now: u64) {
        prop_assert!(verify(&keys(), &token, &client, &device, now).is_err());
    }
}
