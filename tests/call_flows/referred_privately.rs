//! REFER executed by us: what the party that stays has said of itself, it says in its new call too.

use onrecord::sip::Request;
use onrecord::trunk::{Conduct, Refer, Trunk};

use super::bench::{A, B, Bench, PROXY, SDP, answer, with_lines};
use super::party::{ALICE, BOB, CAROL, DAVE, PhoneDialog};
use super::routed::{configure, trunk};

const SAYS: &str = "Privacy: id\r\nP-Asserted-Identity: <sip:secret@example.com>\r\nSession-ID: ab30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2\r\n";

/// REFERs of both trunks are executed by us.
fn executing(trusted: [bool; 2]) -> Bench {
    let mut bench = Bench::unrecorded();
    let executes = |name, address, trusted| Trunk {
        trusted,
        conduct: Conduct {
            refer: Refer::Execute,
            ..Conduct::default()
        },
        ..trunk(name, address)
    };
    let [pbx, carrier] = [executes("pbx", A, trusted[0]), executes("carrier", B, trusted[1])];
    configure(&mut bench, pbx, carrier);
    bench
}

fn refers(bench: &mut Bench, dialog: &mut PhoneDialog, user: &str) {
    let refer = dialog.request("REFER", &format!("Refer-To: <sip:{user}@{PROXY}>\r\n"), "");
    bench.from(dialog.at, refer);
}

/// Privacy, P-Asserted-Identity and Session-ID.
fn said(invite: &Request) -> [Option<&str>; 3] {
    ["Privacy", "P-Asserted-Identity", "Session-ID"].map(|name| invite.headers.get(name))
}

#[test]
fn who_hides_stays_hidden_when_it_is_referred() {
    let session = Some("ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000");
    for (carrier, asserted) in [(true, Some("<sip:secret@example.com>")), (false, None)] {
        let mut bench = executing([true, carrier]);
        let [alice, mut bob] = bench.talk(ALICE, BOB, "call-1", SAYS);
        refers(&mut bench, &mut bob, "carol");
        bench.answers(BOB, "NOTIFY", 200, "");
        let invite = bench.newest(B, "INVITE");
        assert_eq!(invite.uri.user(), Some("carol"));
        assert_eq!(said(&invite), [Some("id"), asserted, session]);
        bench.answers(CAROL, "INVITE", 200, SDP);
        bench.answers(ALICE, "INVITE", 200, SDP);
        bench.answers(BOB, "NOTIFY", 200, "");
        bench.answers(BOB, "BYE", 200, "");
        bench.hangs_up(alice, CAROL);
        bench.assert_nothing_left();
    }
}

#[test]
fn what_a_callee_said_in_its_answer_and_what_anybody_said_before_a_transfer_counts_too() {
    let mut bench = executing([true; 2]);
    bench.invites(ALICE, &format!("sip:bob@{PROXY}"), "call-1", "");
    let asked = bench.newest(B, "INVITE");
    let accepted = answer(&asked, 200, "bob-tag", &format!("bob@{B}"), SDP);
    bench.from(B, with_lines(&accepted, SAYS));
    let mut alice = PhoneDialog::of_caller(ALICE, &bench.newest_response(A));
    let ack = alice.request("ACK", "", "");
    bench.from(A, ack);
    refers(&mut bench, &mut alice, "dave");
    bench.answers(ALICE, "NOTIFY", 200, "");
    let first = bench.newest(A, "INVITE");
    assert_eq!(said(&first)[..2], [Some("id"), Some("<sip:secret@example.com>")]);
    bench.answers(DAVE, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(ALICE, "BYE", 200, "");
    let mut dave = PhoneDialog::of_callee(DAVE, &first);
    refers(&mut bench, &mut dave, "alice");
    bench.answers(DAVE, "NOTIFY", 200, "");
    let second = bench.newest(A, "INVITE");
    assert_eq!(second.uri.user(), Some("alice"));
    assert_eq!(said(&second), said(&first));
}
