//! People with phones: who they are, and the dialogs that they have with the proxy.

use onrecord::model::{Header, RecordingCommand, SessionId};
use onrecord::sip::{Request, Response};

use super::bench::{A, B, Bench, PROXY, SDP, answer};

#[derive(Clone, Copy)]
pub struct Party {
    pub user: &'static str,
    /// The phone's address: [`A`] is of the trunk `pbx`, [`B`] of `carrier`.
    pub at: &'static str,
}

pub const ALICE: Party = Party { user: "alice", at: A };
pub const DAVE: Party = Party { user: "dave", at: A };
pub const BOB: Party = Party { user: "bob", at: B };
pub const CAROL: Party = Party { user: "carol", at: B };

/// A dialog as one phone knows it.
#[derive(Clone, Debug)]
pub struct PhoneDialog {
    pub at: &'static str,
    user: &'static str,
    pub call_id: String,
    /// From and To of this phone's requests.
    local: String,
    remote: String,
    pub local_tag: String,
    pub remote_tag: String,
    cseq: u32,
    /// The URI that was called.
    invited: String,
}

/// Branches of a fork have one Call-ID: the URI tells them apart.
fn branch(method: &str, user: &str, call_id: &str, uri: &str) -> String {
    format!(
        "z9hG4bK{method}{user}{call_id}{}",
        uri.replace([':', '@', '.', ';', '=', '?'], "-")
    )
}

impl PhoneDialog {
    pub fn of_caller(party: Party, response: &Response) -> Self {
        let headers = &response.headers;
        Self {
            at: party.at,
            user: party.user,
            call_id: headers.call_id().to_owned(),
            local: headers.from().to_string(),
            remote: headers.to().to_string(),
            local_tag: headers.from().tag().unwrap().to_owned(),
            remote_tag: headers.to().tag().unwrap_or_default().to_owned(),
            cseq: headers.cseq().number,
            invited: headers.to().uri().to_string(),
        }
    }

    pub fn of_callee(party: Party, invite: &Request) -> Self {
        let headers = &invite.headers;
        Self {
            at: party.at,
            user: party.user,
            call_id: headers.call_id().to_owned(),
            local: format!("{};tag={}-tag", headers.to(), party.user),
            remote: headers.from().to_string(),
            local_tag: format!("{}-tag", party.user),
            remote_tag: headers.from().tag().unwrap().to_owned(),
            cseq: 100,
            invited: String::new(),
        }
    }

    /// The CANCEL of the INVITE that made this early dialog (RFC 3261 §9.1): its branch and Request-URI.
    pub fn cancel(&self) -> bytes::Bytes {
        let (at, user, call_id) = (self.at, self.user, &self.call_id);
        let (uri, to) = (&self.invited, self.remote.split(";tag=").next().unwrap());
        format!(
            "CANCEL {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch={};rport\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: 1 CANCEL\r\nContent-Length: 0\r\n\r\n",
            branch("INVITE", user, call_id, uri), self.local
        )
        .into()
    }

    /// As Replaces names it to the far end.
    pub fn for_far_end(&self) -> String {
        format!(
            "{};to-tag={};from-tag={}",
            self.call_id, self.remote_tag, self.local_tag
        )
    }

    /// As Replaces names it to this phone.
    pub fn for_itself(&self) -> String {
        format!(
            "{};to-tag={};from-tag={}",
            self.call_id, self.local_tag, self.remote_tag
        )
    }

    /// The next request of this phone in the dialog.
    pub fn request(&mut self, method: &str, more: &str, body: &str) -> bytes::Bytes {
        if method != "ACK" {
            self.cseq += 1;
        }
        let (at, user, call_id, cseq) = (self.at, self.user, &self.call_id, self.cseq);
        format!(
            "{method} sip:{PROXY} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{user}{call_id}{cseq}{method};rport\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:{user}@{at}>\r\n{more}Content-Length: {}\r\n\r\n{body}",
            self.local,
            self.remote,
            body.len()
        )
        .into()
    }
}

impl Bench {
    /// Sends an INVITE to this URI. More header lines may follow, each with its line end.
    pub fn invites(&mut self, caller: Party, uri: &str, call_id: &str, more: &str) {
        self.requests(
            "INVITE",
            caller,
            uri,
            call_id,
            &format!("Content-Type: application/sdp\r\n{more}"),
            SDP,
        );
    }

    /// A request outside any dialog.
    pub fn requests(&mut self, method: &str, by: Party, uri: &str, call_id: &str, more: &str, body: &str) {
        let Party { user, at } = by;
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch={};rport\r\nMax-Forwards: 70\r\nFrom: <sip:{user}@example.com>;tag={user}-{call_id}\r\nTo: <{uri}>\r\nCall-ID: {call_id}\r\nCSeq: 1 {method}\r\nContact: <sip:{user}@{at}>\r\n{more}Content-Length: {}\r\n\r\n{body}",
            branch(method, user, call_id, uri),
            body.len()
        );
        self.from(at, text.into());
    }

    pub fn newest(&self, at: &str, method: &str) -> Request {
        if at == A {
            self.request_to_a(method)
        } else {
            self.request_to_b(method)
        }
    }

    pub fn newest_response(&self, at: &str) -> Response {
        if at == A {
            self.response_to_a()
        } else {
            self.response_to_b()
        }
    }

    /// The newest request of that method to this party is answered by it.
    pub fn answers(&mut self, party: Party, method: &str, status: u16, body: &str) {
        let request = self.newest(party.at, method);
        let contact = format!("{}@{}", party.user, party.at);
        let bytes = answer(&request, status, &format!("{}-tag", party.user), &contact, body);
        self.from(party.at, bytes);
    }

    /// Likewise, with more header lines and no body.
    pub fn answers_with(&mut self, party: Party, method: &str, status: u16, more: &str) {
        let request = self.newest(party.at, method);
        let contact = format!("{}@{}", party.user, party.at);
        let bytes = answer(&request, status, &format!("{}-tag", party.user), &contact, "");
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        self.from(
            party.at,
            text.replace("Content-Length", &format!("{more}Content-Length")).into(),
        );
    }

    /// The callee picks up the newest INVITE that it got; gives the dialogs of caller and callee.
    pub fn picks_up(&mut self, caller: Party, callee: Party) -> [PhoneDialog; 2] {
        let invite = self.newest(callee.at, "INVITE");
        self.answers(callee, "INVITE", 200, SDP);
        let mut dialog = PhoneDialog::of_caller(caller, &self.newest_response(caller.at));
        let ack = dialog.request("ACK", "", "");
        self.from(caller.at, ack);
        [dialog, PhoneDialog::of_callee(callee, &invite)]
    }

    /// A call that both sides have agreed to.
    pub fn talk(&mut self, caller: Party, callee: Party, call_id: &str, more: &str) -> [PhoneDialog; 2] {
        self.invites(caller, &format!("sip:{}@{PROXY}", callee.user), call_id, more);
        self.picks_up(caller, callee)
    }

    /// A call that rings; gives the early dialogs of caller and callee.
    pub fn rings(&mut self, caller: Party, callee: Party, call_id: &str, more: &str) -> [PhoneDialog; 2] {
        self.invites(caller, &format!("sip:{}@{PROXY}", callee.user), call_id, more);
        let invite = self.newest(callee.at, "INVITE");
        self.answers(callee, "INVITE", 180, "");
        let dialog = PhoneDialog::of_caller(caller, &self.newest_response(caller.at));
        [dialog, PhoneDialog::of_callee(callee, &invite)]
    }

    /// Ends the call from one side, the other agrees.
    pub fn hangs_up(&mut self, mut dialog: PhoneDialog, other: Party) {
        let bye = dialog.request("BYE", "", "");
        self.from(dialog.at, bye);
        self.answers(other, "BYE", 200, "");
    }

    /// The opening records, in order.
    pub fn headers(&self) -> Vec<&Header> {
        let headers = self.recording.iter().filter_map(|command| match command {
            RecordingCommand::Open(header) | RecordingCommand::Keep { header, .. } => Some(&**header),
            _ => None,
        });
        headers.collect()
    }

    /// The conversation that each recording tells in the end: what its closing record says, else its opening record.
    pub fn conversations(&self) -> Vec<SessionId> {
        let told = |header: &Header| {
            let closed = self.recording.iter().find_map(|command| match command {
                RecordingCommand::Close { session, closing, .. } if *session == header.session => closing.conversation,
                RecordingCommand::Keep {
                    header: kept, closing, ..
                } if kept.session == header.session => closing.conversation,
                _ => None,
            });
            closed.or(header.conversation).unwrap_or(header.session)
        };
        self.headers().into_iter().map(told).collect()
    }
}
