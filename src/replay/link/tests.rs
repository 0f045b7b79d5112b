#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::super::forge::{self, ETHERNET, Pcap, addr, millis};
use super::*;

const A: &str = "192.0.2.1:5060";
const B: &str = "192.0.2.2:5080";
const A6: &str = "[2001:db8::1]:5060";
const B6: &str = "[2001:db8::2]:5080";

/// Every frame is one packet from A to B (or their IPv6 selves) with the payload `hello`.
fn frames() -> Vec<(&'static str, u32, Vec<u8>)> {
    let (v4, v6) = (forge::ip_udp(A, B, b"hello"), forge::ip_udp(A6, B6, b"hello"));
    let tagged = |tags: &[[u8; 4]], ethertype: [u8; 2], payload: &[u8]| {
        let mut frame = vec![2; 12];
        frame.extend(tags.concat());
        frame.extend(ethertype);
        frame.extend(payload);
        frame
    };
    let under = |header: &[u8], payload: &[u8]| [header, payload].concat();
    let mut sll = vec![0; 14];
    sll.extend([0x08, 0x00]);
    let mut sll6 = vec![0; 14];
    sll6.extend([0x86, 0xDD]);
    let mut sll2 = vec![0x08, 0x00];
    sll2.extend([0; 18]);
    let vlan = [0x81, 0x00, 0x00, 0x64];
    let outer = ip_addrs();
    let tunnel = |protocol: u8, payload: &[u8]| forge::ethernet(&forge::ip4(outer.0, outer.1, protocol, 1, 0, payload));
    let gre_bridge = under(&[0x20, 0x00, 0x65, 0x58, 0, 0, 0, 9], &forge::ethernet(&v4));
    vec![
        ("Ethernet", 1, forge::ethernet(&v4)),
        ("Ethernet, IPv6", 1, forge::ethernet(&v6)),
        ("VLAN", 1, tagged(&[vlan], [0x08, 0x00], &v4)),
        ("QinQ", 1, tagged(&[[0x88, 0xA8, 0, 1], vlan], [0x86, 0xDD], &v6)),
        (
            "LLC/SNAP",
            1,
            tagged(&[[0x00, 0x40, 0xAA, 0xAA], [0x03, 0, 0, 0]], [0x08, 0x00], &v4),
        ),
        (
            "PPPoE",
            1,
            tagged(&[], [0x88, 0x64], &under(&[0x11, 0, 0, 1, 0, 35, 0, 0x21], &v4)),
        ),
        ("Linux cooked v1", 113, under(&sll, &v4)),
        ("Linux cooked v1, IPv6", 113, under(&sll6, &v6)),
        ("Linux cooked v2", 276, under(&sll2, &v4)),
        ("null, little", 0, under(&[2, 0, 0, 0], &v4)),
        ("null, big", 0, under(&[0, 0, 0, 2], &v4)),
        ("null, macOS IPv6", 0, under(&[30, 0, 0, 0], &v6)),
        ("loop, OpenBSD IPv6", 108, under(&[0, 0, 0, 24], &v6)),
        ("raw", 101, v4.clone()),
        ("raw, IPv6", 101, v6.clone()),
        ("raw, OpenBSD's number", 14, v4.clone()),
        ("IPv4", 228, v4.clone()),
        ("IPv6", 229, v6.clone()),
        ("IP in IP", 1, tunnel(4, &v4)),
        ("6in4", 1, tunnel(41, &v6)),
        ("GRE", 1, tunnel(47, &under(&[0, 0, 0x08, 0x00], &v4))),
        ("GRE with a key, bridged", 1, tunnel(47, &gre_bridge)),
    ]
    .into_iter()
    .chain(mirrored())
    .chain(tunnelled_over_udp())
    .chain(seldom())
    .chain(behind_pseudo_headers())
    .chain(l2tp())
    .collect()
}

fn outer(protocol: u8, header: &[u8], payload: &[u8]) -> Vec<u8> {
    let (a, b) = ip_addrs();
    forge::ethernet(&forge::ip4(a, b, protocol, 1, 0, &[header, payload].concat()))
}

fn mirrored() -> Vec<(&'static str, u32, Vec<u8>)> {
    let (v4, v6) = (forge::ip_udp(A, B, b"hello"), forge::ip_udp(A6, B6, b"hello"));
    let frame = forge::ethernet(&v4);
    let typed =
        |ethertype: [u8; 2], header: &[u8], payload: &[u8]| [&[2_u8; 12][..], &ethertype[..], header, payload].concat();
    let one = [0, 1, 1, 0xFF];
    let two = [0, 2, 0, 0xFF, 0, 1, 1, 0xFF];
    vec![
        ("ERSPAN I", 1, outer(47, &[0, 0, 0x88, 0xBE], &frame)),
        (
            "ERSPAN II",
            1,
            outer(
                47,
                &[0x10, 0, 0x88, 0xBE, 0, 0, 0, 1, 0x10, 1, 0, 1, 0, 0, 0, 0],
                &frame,
            ),
        ),
        (
            "ERSPAN III",
            1,
            outer(
                47,
                &[0x10, 0, 0x22, 0xEB, 0, 0, 0, 1, 0x20, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
                &frame,
            ),
        ),
        (
            "ERSPAN III with its platform",
            1,
            outer(
                47,
                &[&[0x10, 0, 0x22, 0xEB, 0, 0, 0, 1, 0x20][..], &[0; 10], &[1], &[0; 8]].concat(),
                &frame,
            ),
        ),
        ("MPLS", 1, typed([0x88, 0x47], &one, &v4)),
        ("MPLS, two labels, IPv6", 1, typed([0x88, 0x47], &two, &v6)),
        (
            "MPLS pseudowire",
            1,
            typed([0x88, 0x47], &[&one[..], &[0; 4]].concat(), &frame),
        ),
        ("MPLS in IP", 1, outer(137, &one, &v4)),
        (
            "Cisco metadata",
            1,
            typed([0x89, 0x09], &[1, 1, 0, 1, 0, 10, 0x08, 0], &v4),
        ),
        ("provider backbone", 1, typed([0x88, 0xE7], &[0, 0, 0, 1], &frame)),
        (
            "PPTP",
            1,
            outer(
                47,
                &[0x30, 0x81, 0x88, 0x0B, 0, 40, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0x21],
                &v4,
            ),
        ),
    ]
}

fn tunnelled_over_udp() -> Vec<(&'static str, u32, Vec<u8>)> {
    let (v4, v6) = (forge::ip_udp(A, B, b"hello"), forge::ip_udp(A6, B6, b"hello"));
    let frame = forge::ethernet(&v4);
    let over = |port: &str, header: &[u8], payload: &[u8]| {
        let to = format!("198.51.100.2:{port}");
        forge::ethernet_udp("198.51.100.1:40000", &to, &[header, payload].concat())
    };
    vec![
        ("VXLAN", 1, over("4789", &[8, 0, 0, 0, 0, 0, 100, 0], &frame)),
        ("VXLAN, group", 1, over("4789", &[0x88, 8, 0, 7, 0, 0, 100, 0], &frame)),
        ("VXLAN-GPE", 1, over("4790", &[0x0C, 0, 0, 1, 0, 0, 100, 0], &v4)),
        ("VXLAN-GPE, IPv6", 1, over("4790", &[0x0C, 0, 0, 2, 0, 0, 100, 0], &v6)),
        (
            "VXLAN-GPE, Ethernet",
            1,
            over("4790", &[0x0C, 0, 0, 3, 0, 0, 100, 0], &frame),
        ),
        ("GENEVE", 1, over("6081", &[0, 0, 0x65, 0x58, 0, 0, 100, 0], &frame)),
        (
            "GENEVE with an option",
            1,
            over("6081", &[2, 0, 0x86, 0xDD, 0, 0, 100, 0, 1, 2, 0, 1, 0, 0, 0, 0], &v6),
        ),
        ("GTP-U", 1, over("2152", &[0x30, 0xFF, 0, 0, 0, 0, 0, 1], &v4)),
        (
            "GTP-U of 5G",
            1,
            over("2152", &[0x34, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x85, 1, 0, 9, 0], &v6),
        ),
        ("TZSP", 1, over("37008", &[1, 0, 0, 1, 10, 1, 0xCC, 0, 1], &frame)),
    ]
}

fn behind_pseudo_headers() -> Vec<(&'static str, u32, Vec<u8>)> {
    let v4 = forge::ip_udp(A, B, b"hello");
    let frame = forge::ethernet(&v4);
    let before = |header: &[u8]| [header, &frame].concat();
    let ppi = [&[0, 0, 12, 0, 1, 0, 0, 0][..], &[9; 4]].concat();
    let pktap = [&[108, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0][..], &[0; 96]].concat();
    let erf = |kind: u8, more: &[u8]| [&[0; 8][..], &[kind, 4], &[0; 6], more].concat();
    let pflog = [&[61, 2, 0, 0][..], &[0; 60]].concat();
    vec![
        ("PPI", 192, before(&ppi)),
        ("PKTAP", 258, before(&pktap)),
        ("ERF", 197, before(&erf(2, &[0, 0]))),
        (
            "ERF with extensions",
            197,
            before(&erf(0x82, &[&[0x83; 8][..], &[3; 8], &[0, 0]].concat())),
        ),
        ("ERF of IPv4", 197, [erf(22, &[]), v4.clone()].concat()),
        ("ERF of HDLC", 197, [erf(1, &[0x0F, 0, 8, 0]), v4.clone()].concat()),
        ("Juniper", 178, before(b"MGC\x01")),
        ("Juniper with extensions", 178, before(b"MGC\x81\x00\x03abc")),
        (
            "Juniper without Ethernet",
            178,
            [b"MGC\x03\x00\x00\x00\x02", &v4[..]].concat(),
        ),
        ("netANALYZER", 240, before(&[0; 4])),
        ("pflog", 117, [pflog, v4].concat()),
    ]
}

fn l2tp() -> Vec<(&'static str, u32, Vec<u8>)> {
    let v4 = forge::ip_udp(A, B, b"hello");
    let frame = forge::ethernet(&v4);
    let over = |header: &[u8], payload: &[u8]| {
        forge::ethernet_udp("198.51.100.1:1701", "198.51.100.2:40000", &[header, payload].concat())
    };
    let ppp = [&[0xFF, 3, 0, 0x21], &v4[..]].concat();
    vec![
        ("L2TP", 1, over(&[0, 2, 0, 7, 0, 9], &ppp)),
        ("L2TP with a length", 1, over(&[0x40, 2, 0, 57, 0, 7, 0, 9], &ppp)),
        (
            "L2TP, numbered",
            1,
            over(&[0x48, 2, 0, 63, 0, 7, 0, 9, 0, 1, 0, 2], &ppp),
        ),
        ("L2TP with an offset", 1, over(&[0x02, 2, 0, 7, 0, 9, 0, 2, 1, 1], &ppp)),
        ("L2TPv3", 1, over(&[0, 3, 0, 0, 0, 0, 0, 9], &frame)),
        (
            "L2TPv3 with a cookie and a sublayer",
            1,
            over(&[0, 3, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0], &frame),
        ),
        ("L2TPv3 over IP", 1, outer(115, &[0, 0, 0, 9, 1, 2, 3, 4], &frame)),
    ]
}

fn seldom() -> Vec<(&'static str, u32, Vec<u8>)> {
    let v4 = forge::ip_udp(A, B, b"hello");
    let under = |header: &[u8]| [header, &v4].concat();
    let snap = [0xAA, 0xAA, 3, 0, 0, 0, 8, 0];
    let wireless = |control: [u8; 2], more: &[u8]| [&control[..], &[0; 22], more, &snap].concat();
    let attribute = |order: forge::Order| {
        let payload = [&order.u16(4 + v4.len() as u16)[..], &order.u16(9), &v4].concat();
        [&[2, 0, 0, 0][..], &order.u16(5), &order.u16(10), &[0; 4], &payload].concat()
    };
    vec![
        ("PPP", 9, under(&[0xFF, 3, 0, 0x21])),
        ("PPP, compressed", 9, under(&[0x21])),
        ("PPP in HDLC", 50, under(&[0xFF, 3, 0, 0x21])),
        ("Cisco's HDLC", 104, under(&[0x0F, 0, 8, 0])),
        ("PPPoE", 51, under(&[0x11, 0, 0, 1, 0, 35, 0, 0x21])),
        ("PPP with direction", 204, under(&[1, 0xFF, 3, 0, 0x21])),
        ("PPP of pppd", 166, under(&[1, 3, 0, 0x21])),
        ("frame relay", 107, under(&[0x18, 0x41, 3, 0xCC])),
        (
            "frame relay with SNAP",
            107,
            under(&[0x18, 0x41, 3, 0, 0x80, 0, 0, 0, 8, 0]),
        ),
        ("frame relay of Cisco's", 107, under(&[0x18, 0x41, 8, 0])),
        ("ATM", 100, under(&snap)),
        ("MPLS", 219, under(&[0, 1, 1, 0xFF])),
        ("NFLOG, little", 239, attribute(forge::Order::Little)),
        ("NFLOG, big", 239, attribute(forge::Order::Big)),
        ("802.11", 105, under(&wireless([0x08, 1], &[]))),
        ("802.11 with quality", 105, under(&wireless([0x88, 1], &[0, 0]))),
        ("802.11 relayed", 105, under(&wireless([0x08, 3], &[0; 6]))),
        (
            "radiotap",
            127,
            under(&[&[0, 0, 8, 0, 0, 0, 0, 0][..], &wireless([0x08, 2], &[])].concat()),
        ),
        (
            "Prism",
            119,
            under(&[&[0; 144][..], &wireless([0x08, 2], &[])].concat()),
        ),
    ]
}

#[test]
fn media_on_the_port_of_a_tunnel_is_media() {
    for port in ["4789", "6081", "2152", "37008", "8472", "1701", "9060"] {
        for (payload, name) in [
            (forge::rtp(7, 0, 1), "RTP"),
            (vec![0x81, 0xC8, 0, 6], "RTCP"),
            ([&[0x88, 0, 0, 1, 0, 0, 1, 0][..], &[4; 60]].concat(), "RTP of a mixer"),
            (vec![], "nothing"),
        ] {
            let mut file = Pcap::new(ETHERNET);
            file.udp(millis(0), A, &format!("192.0.2.2:{port}"), &payload);
            let (kept, flaws) = forge::read(&file.bytes).unwrap();
            assert_eq!((kept.len(), flaws), (1, vec![]), "{name} at {port}");
            assert_eq!(kept[0].bytes, payload);
        }
    }
}

#[test]
fn each_encapsulation_that_is_not_read_is_named_once_with_how_much_it_took() {
    let (a, b) = ip_addrs();
    let secret = [&[2_u8; 12][..], &[0x88, 0xE5], &[0; 40]].concat();
    let sctp = |n: u64| forge::ethernet(&forge::ip4(a, b, 132, n as u16, 0, &[0; 12]));
    let mut file = Pcap::new(ETHERNET);
    for n in 0..5 {
        file.push(millis(n), &secret)
            .push(millis(n), &sctp(n))
            .udp(millis(n), A, B, &[n as u8]);
    }
    let (kept, flaws) = forge::read(&file.bytes).unwrap();
    assert_eq!(kept.len(), 5);
    let named: Vec<_> = flaws.iter().map(|flaw| (flaw.packet, flaw.kind.to_string())).collect();
    let said = |what: &str| format!("{what} is not supported: 5 packets not read");
    assert_eq!(named, [(1, said("Ethernet type 0x88e5")), (2, said("IP protocol 132"))]);
}

#[test]
fn tags_without_end_are_named() {
    let mut frame = vec![2; 12];
    frame.extend([0x81, 0, 0, 1].repeat(40));
    frame.extend([8, 0]);
    frame.extend(forge::ip_udp(A, B, b"hello"));
    let mut file = Pcap::new(ETHERNET);
    file.push(millis(0), &frame);
    let (kept, flaws) = forge::read(&file.bytes).unwrap();
    assert_eq!((kept, flaws[0].kind), (vec![], FlawKind::NestedTooDeep { max: 16 }));
}

fn ip_addrs() -> (IpAddr, IpAddr) {
    (addr("198.51.100.1:0").ip(), addr("198.51.100.2:0").ip())
}

#[test]
fn every_link_type_leads_to_the_same_datagram() {
    for (name, link, mut frame) in frames() {
        for padding in [0, 7] {
            frame.extend(vec![0; padding]);
            let mut file = Pcap::new(link);
            file.push(millis(0), &frame);
            let (kept, flaws) = forge::read(&file.bytes).unwrap();
            assert_eq!(flaws, [], "{name}");
            assert_eq!(kept.len(), 1, "{name}");
            assert_eq!(kept[0].bytes, b"hello", "{name}");
            let (src, dst) = if kept[0].src.is_ipv4() { (A, B) } else { (A6, B6) };
            assert_eq!((kept[0].src, kept[0].dst), (addr(src), addr(dst)), "{name}");
        }
    }
}

#[test]
fn a_frame_cut_by_the_snap_length_is_named_and_never_half_read() {
    for (name, link, frame) in frames() {
        for keep in 0..frame.len() {
            let mut file = Pcap::new(link);
            file.push_cut(millis(0), &frame, keep);
            let (kept, flaws) = forge::read(&file.bytes).unwrap();
            assert_eq!(kept, [], "{name} cut to {keep}");
            let expected = FlawKind::Cut {
                captured: keep as u32,
                wire: frame.len() as u32,
            };
            assert!(
                flaws.iter().all(|flaw| flaw.kind == expected),
                "{name} cut to {keep}: {flaws:?}"
            );
        }
    }
}

#[test]
fn a_trailer_lost_to_the_snap_length_costs_nothing() {
    let mut frame = forge::ethernet_udp(A, B, b"hello");
    let whole = frame.len();
    frame.extend([0; 10]);
    let mut file = Pcap::new(ETHERNET);
    file.push_cut(millis(0), &frame, whole);
    let (kept, flaws) = forge::read(&file.bytes).unwrap();
    assert_eq!((kept.len(), flaws), (1, vec![]));
}

#[test]
fn what_carries_no_ip_is_passed_over_in_silence() {
    let arp = [vec![2; 12], vec![0x08, 0x06], vec![0; 28]].concat();
    let mut file = Pcap::new(ETHERNET);
    file.push(millis(0), &arp);
    assert_eq!(forge::read(&file.bytes).unwrap(), (vec![], vec![]));
    let mut file = Pcap::new(147);
    file.push(millis(0), &arp);
    assert_eq!(
        forge::read(&file.bytes).unwrap().1[0].kind,
        Encapsulation::Link(147).unread()
    );
}

#[test]
fn ipv6_extension_headers_are_passed_through() {
    let (a, b) = (addr(A6), addr(B6));
    let datagram = forge::udp(a, b, b"hello");
    let mut options = vec![60, 0, 1, 4, 0, 0, 0, 0];
    options.extend([17, 0, 1, 4, 0, 0, 0, 0]);
    options.extend(&datagram);
    let mut file = Pcap::new(101);
    file.push(millis(0), &forge::ip6(a.ip(), b.ip(), 0, &options));
    let (kept, flaws) = forge::read(&file.bytes).unwrap();
    assert_eq!(flaws, []);
    assert_eq!(kept[0].bytes, b"hello");
}

#[test]
fn tunnels_end_somewhere() {
    let (a, b) = ip_addrs();
    let mut packet = forge::ip_udp(A, B, b"hello");
    for _ in 0..6 {
        packet = forge::ip4(a, b, 4, 1, 0, &packet);
    }
    let mut file = Pcap::new(101);
    file.push(millis(0), &packet);
    let (kept, flaws) = forge::read(&file.bytes).unwrap();
    assert_eq!(kept, []);
    assert_eq!(flaws[0].kind, FlawKind::NestedTooDeep { max: 4 });
}

proptest! {
    #[test]
    fn random_frames_never_panic(
        link in prop::sample::select(vec![0_u32, 1, 9, 50, 51, 100, 101, 104, 105, 107, 108, 113, 117, 119, 127, 166, 178, 192, 197,
            219, 239, 252, 258, 276, 9_999]),
        frame in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut file = Pcap::new(link);
        file.push(millis(0), &frame);
        let (kept, flaws) = forge::read(&file.bytes).unwrap();
        prop_assert!(kept.len() + flaws.len() <= 2);
    }

    #[test]
    fn frames_with_a_few_bytes_changed_never_panic(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let frames = frames();
        let (_, link, mut frame) = which.get(&frames).clone();
        for (at, value) in changes {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        let mut file = Pcap::new(link);
        file.push(millis(0), &frame);
        let (kept, _) = forge::read(&file.bytes).unwrap();
        prop_assert!(kept.iter().all(|k| k.bytes.len() <= frame.len()));
    }
}
