//! Session keys (RFC 3711 §4.3, RFC 7714 §11), and a packet encrypted and authenticated by them.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_256, Algorithm, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use zeroize::Zeroize;

use super::{INDEX_BYTES, Index, RTCP_CLEAR_BYTES, SrtpError};
use crate::model::{SrtpKey, SrtpSuite, Ssrc};

pub(super) const TAG_BYTES_MAX: usize = GCM_TAG_BYTES;
const GCM_TAG_BYTES: usize = 16;
const AUTH_KEY_BYTES: usize = 20;
/// Of AES-CM, and of the key derivation.
const SALT_BYTES: usize = 14;
const GCM_SALT_BYTES: usize = 12;
/// Labels of the key derivation (RFC 3711 §4.3.1, §4.3.2): cipher, authentication, salt; of SRTCP three more.
const LABELS_RTP: [u8; 3] = [0, 1, 2];
const LABELS_RTCP: [u8; 3] = [3, 4, 5];

/// The session keys of RTP, or of RTCP.
#[derive(Debug)]
pub(super) enum Cipher {
    Cm(Box<CounterMode>),
    Gcm(Box<Gcm>),
}

#[derive(Debug)]
pub(super) struct CounterMode {
    key: EncryptingKey,
    auth: hmac::Key,
    salt: [u8; SALT_BYTES],
    tag_bytes: usize,
}

#[derive(Debug)]
pub(super) struct Gcm {
    key: LessSafeKey,
    salt: [u8; GCM_SALT_BYTES],
}

impl Cipher {
    pub(super) fn rtp(key: &SrtpKey) -> Option<Self> {
        let tag_bytes = if key.suite() == SrtpSuite::AesCm128HmacSha1_32 {
            4
        } else {
            10
        };
        Self::derive(key, LABELS_RTP, tag_bytes)
    }

    /// The short tag is of RTP alone (RFC 4568 §6.2.2).
    pub(super) fn rtcp(key: &SrtpKey) -> Option<Self> {
        Self::derive(key, LABELS_RTCP, 10)
    }

    fn derive(key: &SrtpKey, labels: [u8; 3], tag_bytes: usize) -> Option<Self> {
        let [cipher_label, auth_label, salt_label] = labels;
        let mut cipher_key = [0; 32];
        let cipher_key = cipher_key.get_mut(..key.suite().key_bytes())?;
        let (mut auth, mut salt) = ([0; AUTH_KEY_BYTES], [0; SALT_BYTES]);
        derive(key, cipher_label, cipher_key)?;
        derive(key, auth_label, &mut auth)?;
        derive(key, salt_label, &mut salt)?;
        let cipher = match key.suite() {
            SrtpSuite::AesCm128HmacSha1_80 | SrtpSuite::AesCm128HmacSha1_32 => {
                Self::counter_mode(cipher_key, &auth, salt, tag_bytes)
            }
            SrtpSuite::AeadAes128Gcm | SrtpSuite::AeadAes256Gcm => Self::gcm(cipher_key, *salt.first_chunk()?),
        };
        cipher_key.zeroize();
        auth.zeroize();
        salt.zeroize();
        cipher
    }

    fn counter_mode(key: &[u8], auth: &[u8], salt: [u8; SALT_BYTES], tag_bytes: usize) -> Option<Self> {
        Some(Self::Cm(Box::new(CounterMode {
            key: counter_key(key)?,
            auth: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, auth),
            salt,
            tag_bytes,
        })))
    }

    fn gcm(key: &[u8], salt: [u8; GCM_SALT_BYTES]) -> Option<Self> {
        let algorithm = if key.len() == 32 { &AES_256_GCM } else { &AES_128_GCM };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?);
        Some(Self::Gcm(Box::new(Gcm { key, salt })))
    }

    pub(super) const fn is_aead(&self) -> bool {
        matches!(self, Self::Gcm(_))
    }

    pub(super) fn tag_bytes(&self) -> usize {
        match self {
            Self::Cm(cipher) => cipher.tag_bytes,
            Self::Gcm(_) => GCM_TAG_BYTES,
        }
    }

    /// `tag` has the bytes of a tag.
    pub(super) fn seal_rtp(
        &self,
        packet: &mut [u8],
        header: usize,
        ssrc: Ssrc,
        index: Index,
        tag: &mut [u8],
    ) -> Result<(), SrtpError> {
        match self {
            Self::Cm(cipher) => {
                let payload = packet.get_mut(header..).ok_or(SrtpError::Malformed)?;
                cipher.apply(payload, ssrc, index.to_bytes())?;
                let full = cipher.tag_of(packet, &index.rollovers().to_be_bytes());
                tag.copy_from_slice(full.as_ref().get(..cipher.tag_bytes).ok_or(SrtpError::Malformed)?);
                Ok(())
            }
            Self::Gcm(cipher) => {
                let (aad, payload) = packet.split_at_mut_checked(header).ok_or(SrtpError::Malformed)?;
                cipher.seal(cipher.rtp_nonce(ssrc, index), aad, payload, tag)
            }
        }
    }

    /// Verified before it is decrypted.
    pub(super) fn open_rtp(
        &self,
        packet: &mut [u8],
        header: usize,
        ssrc: Ssrc,
        index: Index,
        tag: &[u8],
    ) -> Result<(), SrtpError> {
        match self {
            Self::Cm(cipher) => {
                cipher.verify(packet, &index.rollovers().to_be_bytes(), tag)?;
                let payload = packet.get_mut(header..).ok_or(SrtpError::Malformed)?;
                cipher.apply(payload, ssrc, index.to_bytes())
            }
            Self::Gcm(cipher) => {
                let (aad, payload) = packet.split_at_mut_checked(header).ok_or(SrtpError::Malformed)?;
                cipher.open(cipher.rtp_nonce(ssrc, index), aad, payload, tag)
            }
        }
    }

    /// `whole`: the packet, and room for tag and index, whose order differs: RFC 3711 §3.4, RFC 7714 §9.2.
    pub(super) fn seal_rtcp(
        &self,
        whole: &mut [u8],
        length: usize,
        ssrc: Ssrc,
        index: u32,
        word: [u8; INDEX_BYTES],
    ) -> Result<(), SrtpError> {
        let (packet, room) = whole.split_at_mut_checked(length).ok_or(SrtpError::Malformed)?;
        match self {
            Self::Cm(cipher) => {
                let body = packet.get_mut(RTCP_CLEAR_BYTES..).ok_or(SrtpError::Malformed)?;
                cipher.apply(body, ssrc, rtcp_index(index))?;
                let full = cipher.tag_of(packet, &word);
                let (word_room, tag) = room.split_at_mut_checked(INDEX_BYTES).ok_or(SrtpError::Malformed)?;
                word_room.copy_from_slice(&word);
                tag.copy_from_slice(full.as_ref().get(..cipher.tag_bytes).ok_or(SrtpError::Malformed)?);
                Ok(())
            }
            Self::Gcm(cipher) => {
                let (head, body) = packet
                    .split_at_mut_checked(RTCP_CLEAR_BYTES)
                    .ok_or(SrtpError::Malformed)?;
                let (tag, word_room) = room.split_at_mut_checked(GCM_TAG_BYTES).ok_or(SrtpError::Malformed)?;
                word_room.copy_from_slice(&word);
                cipher.seal(cipher.rtcp_nonce(ssrc, index), &rtcp_aad(head, word)?, body, tag)
            }
        }
    }

    pub(super) fn open_rtcp(
        &self,
        packet: &mut [u8],
        ssrc: Ssrc,
        index: u32,
        word: [u8; INDEX_BYTES],
        tag: &[u8],
    ) -> Result<(), SrtpError> {
        match self {
            Self::Cm(cipher) => {
                cipher.verify(packet, &word, tag)?;
                let body = packet.get_mut(RTCP_CLEAR_BYTES..).ok_or(SrtpError::Malformed)?;
                cipher.apply(body, ssrc, rtcp_index(index))
            }
            Self::Gcm(cipher) => {
                let (head, body) = packet
                    .split_at_mut_checked(RTCP_CLEAR_BYTES)
                    .ok_or(SrtpError::Malformed)?;
                cipher.open(cipher.rtcp_nonce(ssrc, index), &rtcp_aad(head, word)?, body, tag)
            }
        }
    }
}

impl CounterMode {
    /// Encrypts or decrypts: RFC 3711 §4.1.1.
    fn apply(&self, payload: &mut [u8], ssrc: Ssrc, index: [u8; 6]) -> Result<(), SrtpError> {
        let mut iv = [0; 16];
        iv[..SALT_BYTES].copy_from_slice(&self.salt);
        mix(&mut iv[4..8], &ssrc.0.to_be_bytes());
        mix(&mut iv[8..14], &index);
        run(&self.key, iv, payload).ok_or(SrtpError::Malformed)
    }

    fn tag_of(&self, packet: &[u8], behind: &[u8; 4]) -> hmac::Tag {
        let mut tag = hmac::Context::with_key(&self.auth);
        tag.update(packet);
        tag.update(behind);
        tag.sign()
    }

    fn verify(&self, packet: &[u8], behind: &[u8; 4], tag: &[u8]) -> Result<(), SrtpError> {
        let full = self.tag_of(packet, behind);
        let expected = full.as_ref().get(..self.tag_bytes).ok_or(SrtpError::Forged)?;
        verify_slices_are_equal(expected, tag).map_err(|_| SrtpError::Forged)
    }
}

impl Gcm {
    /// RFC 7714 §8.1.
    fn rtp_nonce(&self, ssrc: Ssrc, index: Index) -> Nonce {
        self.nonce(ssrc, index.to_bytes())
    }

    /// RFC 7714 §9.1.
    fn rtcp_nonce(&self, ssrc: Ssrc, index: u32) -> Nonce {
        self.nonce(ssrc, rtcp_index(index))
    }

    fn nonce(&self, ssrc: Ssrc, index: [u8; 6]) -> Nonce {
        let mut nonce = self.salt;
        mix(&mut nonce[2..6], &ssrc.0.to_be_bytes());
        mix(&mut nonce[6..12], &index);
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal(&self, nonce: Nonce, aad: &[u8], payload: &mut [u8], tag: &mut [u8]) -> Result<(), SrtpError> {
        let made = self.key.seal_in_place_separate_tag(nonce, Aad::from(aad), payload);
        tag.copy_from_slice(made.map_err(|_| SrtpError::Malformed)?.as_ref());
        Ok(())
    }

    fn open(&self, nonce: Nonce, aad: &[u8], payload: &mut [u8], tag: &[u8]) -> Result<(), SrtpError> {
        let opened = self.key.open_in_place_separate_tag(nonce, Aad::from(aad), tag, payload);
        opened.map(|_| ()).map_err(|_| SrtpError::Forged)
    }
}

fn rtcp_index(index: u32) -> [u8; 6] {
    let [a, b, c, d] = index.to_be_bytes();
    [0, 0, a, b, c, d]
}

/// The first packet's header and sender, and the index with its flag (RFC 7714 §9.2).
fn rtcp_aad(head: &[u8], word: [u8; INDEX_BYTES]) -> Result<[u8; RTCP_CLEAR_BYTES + INDEX_BYTES], SrtpError> {
    let mut aad = [0; RTCP_CLEAR_BYTES + INDEX_BYTES];
    let (first, last) = aad.split_at_mut(RTCP_CLEAR_BYTES);
    first.copy_from_slice(head.get(..RTCP_CLEAR_BYTES).ok_or(SrtpError::Malformed)?);
    last.copy_from_slice(&word);
    Ok(aad)
}

/// One session key (RFC 3711 §4.3.3). The rate of derivation is zero: there is one for the whole session.
fn derive(key: &SrtpKey, label: u8, out: &mut [u8]) -> Option<()> {
    let mut iv = [0; 16];
    iv.get_mut(..key.salt().len())?.copy_from_slice(key.salt());
    iv[7] ^= label;
    out.fill(0);
    run(&counter_key(key.key())?, iv, out)
}

fn counter_key(key: &[u8]) -> Option<EncryptingKey> {
    let algorithm: &'static Algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    EncryptingKey::ctr(UnboundCipherKey::new(algorithm, key).ok()?).ok()
}

/// XORs the keystream that begins at this counter.
fn run(key: &EncryptingKey, iv: [u8; 16], bytes: &mut [u8]) -> Option<()> {
    if bytes.is_empty() {
        return Some(());
    }
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    key.less_safe_encrypt(bytes, context).ok().map(|_| ())
}

fn mix(bytes: &mut [u8], other: &[u8]) {
    for (byte, other) in bytes.iter_mut().zip(other) {
        *byte ^= other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("hex");
        digits.chunks(2).map(pair).collect()
    }

    #[test]
    fn keys_are_derived_as_in_rfc_3711_b3() {
        let master = bytes("E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6");
        let key = SrtpKey::new(SrtpSuite::AesCm128HmacSha1_80, &master, None).expect("a key");
        let derived = |label, length| {
            let mut out = vec![0xff; length];
            derive(&key, label, &mut out).expect("derived");
            out
        };
        assert_eq!(derived(0, 16), bytes("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(derived(2, 14), bytes("30CBBC08863D8C85D49DB34A9AE1"));
        let auth = "CEBE321F6FF7716B6FD4AB49AF256A15 6D38BAA4";
        assert_eq!(derived(1, 20), bytes(auth));
    }

    #[test]
    fn the_keystream_is_that_of_rfc_3711_b2() {
        let key = bytes("2B7E151628AED2A6ABF7158809CF4F3C");
        let salt = bytes("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().expect("14 bytes");
        let Some(Cipher::Cm(cipher)) = Cipher::counter_mode(&key, &[0; 20], salt, 10) else {
            unreachable!("counter mode")
        };
        let mut stream = vec![0; 0xff02 * 16];
        cipher.apply(&mut stream, Ssrc(0), [0; 6]).expect("applied");
        let first =
            "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0";
        assert_eq!(stream[..48], bytes(first));
        let last = "EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE 6A2CC3787889374FBEB4C81B17BA6C44";
        assert_eq!(stream[0xfeff * 16..], bytes(last));
    }

    const GCM_SALT: &str = "51 75 69 64 20 70 72 6f 20 71 75 6f";
    const GCM_KEY: &str = "00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f";

    fn gcm(key: &str) -> Cipher {
        Cipher::gcm(&bytes(key), bytes(GCM_SALT).try_into().expect("12 bytes")).expect("a cipher")
    }

    fn is_rtp_vector(cipher: &Cipher, sealed: &str) {
        let clear = bytes(
            "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465 73207472 6573",
        );
        let (ssrc, index) = (Ssrc(0x5501_a0b2), Index::new(0, 0xf17b));
        let (mut packet, mut tag) = (clear.clone(), [0; 16]);
        cipher.seal_rtp(&mut packet, 12, ssrc, index, &mut tag).expect("sealed");
        assert_eq!([&packet[..], &tag].concat(), bytes(sealed));
        cipher.open_rtp(&mut packet, 12, ssrc, index, &tag).expect("opened");
        assert_eq!(packet, clear);
        tag[0] ^= 1;
        assert_eq!(
            cipher.open_rtp(&mut packet, 12, ssrc, index, &tag),
            Err(SrtpError::Forged)
        );
    }

    #[test]
    fn rtp_is_sealed_as_in_rfc_7714_16() {
        is_rtp_vector(
            &gcm(GCM_KEY),
            "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf \
             8833899d 7f27beb1 6a9152cf 765ee439 0cce",
        );
        let long = format!("{GCM_KEY} 10 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f");
        is_rtp_vector(&gcm(&long), SEALED_256);
    }

    #[test]
    fn rtcp_is_sealed_as_in_rfc_7714_17() {
        let clear = bytes(
            "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef deadbeef deadbeef deadbeef",
        );
        let (ssrc, index) = (Ssrc(0x4d61_7273), 0x5d4);
        let word = [0x80, 0, 0x05, 0xd4];
        let mut whole = clear.clone();
        whole.resize(clear.len() + 20, 0);
        let cipher = gcm(GCM_KEY);
        cipher
            .seal_rtcp(&mut whole, clear.len(), ssrc, index, word)
            .expect("sealed");
        assert_eq!(whole, bytes(SEALED_RTCP));
        let (packet, rest) = whole.split_at_mut(clear.len());
        cipher
            .open_rtcp(packet, ssrc, index, word, &rest[..16])
            .expect("opened");
        assert_eq!(packet, clear);
    }

    const SEALED_256: &str = "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f \
                              1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13";
    const SEALED_RTCP: &str = "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46 \
                               86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4";
}
