#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;
use crate::sip::Method;

/// RFC 7616 §3.9.1.
const BOTH: [&str; 2] = [
    "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=SHA-256, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"",
    "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=MD5, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"",
];

fn credentials(realm: &str, user: &str, password: &str) -> Credentials {
    Credentials {
        realm: realm.to_owned(),
        user: user.to_owned(),
        password: Password::new(password.to_owned()),
    }
}

fn mufasa() -> Credentials {
    credentials("http-auth@example.org", "Mufasa", "Circle of Life")
}

fn get<'a>(uri: &'a str, cnonce: &'a str) -> Use<'a> {
    static GET: std::sync::LazyLock<Method> = std::sync::LazyLock::new(|| Method::Other("GET".into()));
    Use {
        method: &GET,
        uri,
        body: b"",
        cnonce,
        count: 1,
    }
}

fn only(line: &str) -> Result<Challenge, ChallengeError> {
    let all: Vec<_> = challenges(line).collect();
    assert_eq!(all.len(), 1, "{line}");
    all.into_iter().next().unwrap()
}

fn value<'a>(answer: &'a str, name: &str) -> &'a str {
    let start = answer.find(&format!(" {name}=")).unwrap() + name.len() + 2;
    answer[start..].split(',').next().unwrap().trim_matches('"')
}

#[test]
fn the_examples_of_the_rfc_come_out() {
    let used = get("/dir/index.html", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ");
    let sha = strongest(BOTH.into_iter(), "http-auth@example.org").unwrap();
    assert_eq!(
        mufasa().answer(&sha, &used),
        "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", uri=\"/dir/index.html\", response=\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1\", algorithm=SHA-256, cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, nc=00000001, opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
    );
    let md5 = only(BOTH[1]).unwrap();
    assert_eq!(
        value(&mufasa().answer(&md5, &used), "response"),
        "8ca523f5e9506fed4657c9700eebdbec"
    );
}

#[test]
fn sha_512_256_is_the_function_of_fips_180_and_not_a_cut_sha_512() {
    // RFC 7616 §3.9.2 as corrected by its erratum 4897: the RFC's own figure is SHA-512, cut.
    let line = "Digest realm=\"api@example.org\", qop=\"auth\", algorithm=SHA-512-256, nonce=\"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK\", opaque=\"HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS\", charset=UTF-8, userhash=true";
    let jason = credentials("api@example.org", "J\u{e4}s\u{f8}n Doe", "Secret, or not?");
    let used = get("/doe.json", "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v");
    assert_eq!(
        value(&jason.answer(&only(line).unwrap(), &used), "response"),
        "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"
    );
}

#[test]
fn a_peer_of_rfc_2069_gets_no_qop_and_one_of_rfc_2617_the_known_answer() {
    // RFC 2617 §3.5, with and without its qop.
    let line = "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
    let mufasa = credentials("testrealm@host.com", "Mufasa", "Circle Of Life");
    let used = get("/dir/index.html", "0a4f113b");
    let answer = mufasa.answer(&only(line).unwrap(), &used);
    assert_eq!(value(&answer, "response"), "6629fae49393a05397450978507c4ef1");
    assert!(!answer.contains("algorithm"), "what was not said is not said back");
    let old = mufasa.answer(&only(&line.replace("qop=\"auth,auth-int\", ", "")).unwrap(), &used);
    assert_eq!(value(&old, "response"), "670fd8c2df070c60b045671b8b24ff02");
    assert!(!old.contains("cnonce") && !old.contains("nc="), "{old}");
}

#[test]
fn the_session_variant_makes_its_key_of_both_nonces_and_auth_int_covers_the_body() {
    let line = "Digest realm=\"r\", nonce=\"n\", algorithm=md5-SESS, qop=\"auth-int\"";
    let challenge = only(line).unwrap();
    assert!(challenge.session && challenge.qop == Some(Qop::AuthInt));
    let body = |body| Use {
        method: &Method::Invite,
        uri: "sip:b@c",
        body,
        cnonce: "c",
        count: 17,
    };
    let answer = credentials("r", "u", "p").answer(&challenge, &body(b"v=0"));
    let md5 = |text: &str| Algorithm::Md5.hash(&[text.as_bytes()]);
    let a1 = md5(&format!("{}:n:c", md5("u:r:p")));
    let a2 = md5(&format!("INVITE:sip:b@c:{}", md5("v=0")));
    let expected = md5(&format!("{a1}:n:00000011:c:auth-int:{a2}"));
    assert_eq!(value(&answer, "response"), expected);
    assert!(
        answer.contains("nc=00000011") && answer.contains("algorithm=md5-SESS"),
        "{answer}"
    );
    let other = credentials("r", "u", "p").answer(&challenge, &body(b"v=1"));
    assert_ne!(value(&other, "response"), expected);
}

#[test]
fn several_challenges_share_a_line_and_other_schemes_are_passed_over() {
    let line = "Basic realm=\"a, Digest nonce=1\", Newauth realm=\"apps\", type=1, title=\"Login to \\\"apps\\\"\", Digest realm=\"r\", nonce=\"n\", Negotiate, NTLM abc==, Digest nonce=\"m\" , realm = \"r\" , algorithm=SHA-256, stale=TRUE";
    let all: Vec<_> = challenges(line).collect();
    assert_eq!(all.len(), 6, "{all:?}");
    let digests: Vec<_> = all.into_iter().flatten().collect();
    assert_eq!(digests.iter().map(|c| c.nonce.as_str()).collect::<Vec<_>>(), ["n", "m"]);
    assert!(!digests[0].stale && digests[1].stale);
    assert_eq!(strongest([line].into_iter(), "r").unwrap().nonce, "m");
    assert_eq!(strongest([line].into_iter(), "apps"), None);
    assert_eq!(
        strongest([line].into_iter(), "R"),
        None,
        "a realm is compared byte for byte"
    );
}

#[test]
fn a_challenge_that_cannot_be_answered_says_why() {
    for (line, why) in [
        ("Basic realm=\"r\"", ChallengeError::OtherScheme),
        ("Digest", ChallengeError::Missing),
        ("Digest realm=\"r\"", ChallengeError::Missing),
        (
            "Digest realm=\"r\", nonce=\"n\", nonce=\"m\"",
            ChallengeError::Malformed,
        ),
        ("Digest realm=\"r\", nonce=\"n", ChallengeError::Malformed),
        ("Digest realm=\"r\", nonce=a b", ChallengeError::Malformed),
        ("Digest realm=\"r\", nonce=\"n\", =x", ChallengeError::Malformed),
        (
            "Digest realm=\"r\", nonce=\"n\", algorithm=AKAv1-MD5",
            ChallengeError::UnknownAlgorithm,
        ),
        (
            "Digest realm=\"r\", nonce=\"n\", qop=\"token\"",
            ChallengeError::UnknownQop,
        ),
    ] {
        assert_eq!(only(line), Err(why), "{line}");
    }
    let long = format!("Digest realm=\"r\", nonce=\"{}\"", "n".repeat(2_000));
    assert_eq!(only(&long), Err(ChallengeError::Malformed));
    let many = format!("Digest realm=\"r\", nonce=\"n\"{}", ", a=b".repeat(1_000));
    assert_eq!(only(&many), Err(ChallengeError::Malformed));
    assert_eq!(challenges(&"Digest realm=r,".repeat(1_000)).count(), 16);
}

#[test]
fn a_password_shows_itself_to_no_log() {
    let shown = format!("{:?}", credentials("r", "u", "s3cret"));
    assert!(shown.contains("(hidden)") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn credentials_are_told_by_their_realm() {
    let value = "Digest username=\"u\", realm=\"a, realm=b\", nonce=\"n\", response=\"0\"";
    assert!(names_realm(value, "a, realm=b"));
    assert!(!names_realm(value, "b"));
    assert!(!names_realm("Bearer realm=\"a\"", "a"));
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader_and_what_it_reads_is_bounded(line in "\\PC{0,300}|(Digest|Basic|realm=|nonce=|\"|,|=| |\\\\|qop=|x){0,80}") {
        let all: Vec<_> = challenges(&line).collect();
        prop_assert!(all.len() <= 16);
        for challenge in all.into_iter().flatten() {
            prop_assert!(challenge.nonce.len() <= 1_024);
        }
        let _either: bool = names_realm(&line, "r");
    }

    #[test]
    fn an_answer_stands_on_one_line_and_brings_back_what_was_asked(realm in "\\PC{0,20}", nonce in "\\PC{0,40}", session in any::<bool>()) {
        let name = if session { "SHA-256-sess" } else { "SHA-256" };
        let line = format!("Digest realm={}, nonce={}, algorithm={name}, qop=\"auth\"", crate::sip::grammar::quoted(&realm), crate::sip::grammar::quoted(&nonce));
        let challenge = strongest([line.as_str()].into_iter(), &realm).unwrap();
        prop_assert_eq!(&challenge.nonce, &nonce);
        let answer = credentials(&realm, "u", "p").answer(&challenge, &get("sip:b", "c"));
        prop_assert!(crate::sip::grammar::is_one_line(&answer));
        prop_assert!(names_realm(&answer, &realm));
    }
}
