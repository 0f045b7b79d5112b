//! Numbers and headers as the trunks want them: rules of what comes in and goes out, and E.164 by the dial plan that the
//! policies have for the trunk. One truth: a number that routes see is the number that grants see.

use std::borrow::Cow;

use crate::policy::PolicySet;
use crate::sip::{Headers, NameAddr, Request, Uri};
use crate::trunk::rewrite::{apply, apply_to_headers, with_user};
use crate::trunk::{Applied, Field, Passage, Rewrite, Trunk};

/// Who asserts or prefers an identity; E.164 is written there too (RFC 3325 §9).
const IDENTITIES: [&str; 3] = ["P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID"];
/// Who answers, or speaks now, as responses and requests inside a dialog tell it too (RFC 3325 §9.1).
const CONNECTED: [&str; 2] = ["P-Asserted-Identity", "Remote-Party-ID"];
/// Lines of one of these that are looked at; with more the header is left as it is.
const IDENTITIES_MAX: usize = 8;

/// A request from `trunk` as routes and policies see it: its rules applied, then its numbers in E.164.
pub fn arriving<'a>(request: &'a Request, trunk: &Trunk, policies: &PolicySet) -> Cow<'a, Request> {
    if trunk.rewrites.is_empty() && !trunk.e164 {
        return Cow::Borrowed(request);
    }
    let mut seen = request.clone();
    arrive(&mut seen, trunk, policies);
    Cow::Owned(seen)
}

/// The same in place; what was done, in order.
pub fn arrive(request: &mut Request, trunk: &Trunk, policies: &PolicySet) -> Vec<Applied> {
    let mut all = apply(&trunk.rewrites, Passage::In, request);
    if trunk.e164
        && let Some((uri, applied)) = e164(&request.uri, trunk, policies, Field::RequestUri)
    {
        request.uri = uri;
        all.push(applied);
    }
    all.extend(normalize(&mut request.headers, trunk, policies));
    all
}

/// From, To and the headers that carry over, on their way from one trunk to another.
pub fn cross(headers: &mut Headers, from: &Trunk, to: &Trunk, policies: &PolicySet) -> Vec<Applied> {
    let mut all = apply_to_headers(&from.rewrites, Passage::In, headers);
    all.extend(normalize(headers, from, policies));
    all.extend(apply_to_headers(&to.rewrites, Passage::Out, headers));
    all
}

/// Of a response, or a request inside a dialog: From and To name the dialog and stay; who is asserted there is written as the
/// trunks want it, by the same rules as in the request that began it.
pub fn cross_identities(headers: &mut Headers, from: &Trunk, to: &Trunk, policies: &PolicySet) {
    let has_rules = !from.rewrites.is_empty() || !to.rewrites.is_empty() || from.e164;
    if !has_rules || !CONNECTED.iter().any(|name| headers.contains(name)) {
        return;
    }
    let after = rules_of_identities(headers, to);
    arrive_identities(headers, from, policies);
    apply_to_headers(&after, Passage::Out, headers);
}

fn arrive_identities(headers: &mut Headers, from: &Trunk, policies: &PolicySet) {
    apply_to_headers(&rules_of_identities(headers, from), Passage::In, headers);
    if from.e164 {
        for name in CONNECTED {
            normalize_identities(headers, name, from, policies);
        }
    }
}

fn rules_of_identities(headers: &Headers, trunk: &Trunk) -> Vec<Rewrite> {
    let is_told = |rule: &&Rewrite| match &rule.field {
        Field::Header(name) => {
            let is_connected = CONNECTED.iter().any(|known| known.eq_ignore_ascii_case(name));
            is_connected && headers.contains(name)
        }
        Field::RequestUri | Field::From | Field::To => false,
    };
    trunk.rewrites.iter().filter(is_told).cloned().collect()
}

/// Who speaks in a response or in a request inside a dialog, as the network vouches for it and policies see it: those of
/// P-Asserted-Identity, else of Remote-Party-ID; nobody where the trunk is not trusted (RFC 3325 §9.1).
pub fn asserted(headers: &Headers, from: &Trunk, policies: &PolicySet) -> Vec<NameAddr> {
    let told = CONNECTED.into_iter().find(|name| headers.contains(name));
    let Some(name) = told.filter(|_| from.trusted) else {
        return Vec::new();
    };
    let mut seen = Cow::Borrowed(headers);
    if !from.rewrites.is_empty() || from.e164 {
        arrive_identities(seen.to_mut(), from, policies);
    }
    let mut parties = seen.addresses(name);
    parties.truncate(IDENTITIES_MAX);
    parties
}

fn normalize(headers: &mut Headers, trunk: &Trunk, policies: &PolicySet) -> Vec<Applied> {
    let mut all = Vec::new();
    if !trunk.e164 {
        return all;
    }
    if let Some((uri, applied)) = e164(&headers.from().uri, trunk, policies, Field::From) {
        let mut from = headers.from().clone();
        from.uri = uri;
        headers.set_from(from);
        all.push(applied);
    }
    if let Some((uri, applied)) = e164(&headers.to().uri, trunk, policies, Field::To) {
        let mut to = headers.to().clone();
        to.uri = uri;
        headers.set_to(to);
        all.push(applied);
    }
    for name in IDENTITIES {
        all.extend(normalize_identities(headers, name, trunk, policies));
    }
    all
}

fn normalize_identities(headers: &mut Headers, name: &str, trunk: &Trunk, policies: &PolicySet) -> Vec<Applied> {
    let lines: Vec<String> = headers.get_all(name).map(str::to_owned).collect();
    let mut all = Vec::new();
    if lines.len() > IDENTITIES_MAX {
        return all;
    }
    let lines: Vec<String> = lines
        .into_iter()
        .map(|line| {
            let Ok(mut party) = NameAddr::parse(&line) else {
                return line;
            };
            let field = Field::Header(name.to_owned());
            let Some((uri, applied)) = e164(&party.uri, trunk, policies, field) else {
                return line;
            };
            party.uri = uri;
            all.push(applied);
            party.to_string()
        })
        .collect();
    if !all.is_empty() {
        headers.remove(name);
        for line in lines {
            headers.push(name, line);
        }
    }
    all
}

fn e164(uri: &Uri, trunk: &Trunk, policies: &PolicySet, field: Field) -> Option<(Uri, Applied)> {
    let before = uri.user()?;
    let number = policies.e164(&trunk.name, before).filter(|number| number != before)?;
    let uri = with_user(uri, &number)?;
    let applied = Applied {
        field,
        before: before.to_owned(),
        after: number,
    };
    Some((uri, applied))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Generation;
    use crate::policy::SourceFile;
    use crate::sip::Method;

    fn london() -> PolicySet {
        let text = "[[dial_plan]]\ntrunk = \"pbx\"\ncountry_code = \"44\"\n";
        let policy = "[policy]\nid = \"desk\"\nenabled = true\n[[policy.recorder]]\nid = \"embedded\"\n";
        let file = |path: &str, text: &str| SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        PolicySet::compile(&[file("desk.toml", policy), file("plan.toml", text)], Generation(1)).expect("valid")
    }

    fn request(uri: &str, from: &str) -> Request {
        let parse = |text| NameAddr::parse(text).expect("a name-addr");
        let uri = Uri::parse(uri).expect("a URI");
        let mut request = Request::new(Method::Invite, uri, parse(from), parse("<sip:020123@x>"), "c", 1);
        request
            .headers
            .push("P-Asserted-Identity", "\"Desk\" <sip:0201001@x>;x=1");
        request
    }

    fn pbx() -> Trunk {
        Trunk {
            e164: true,
            ..Trunk::new("pbx".into(), vec![])
        }
    }

    #[test]
    fn numbers_of_a_trunk_are_e164_by_the_dial_plan_of_the_policies() {
        let policies = london();
        let request = request("sip:(020)%20123@x;user=phone", "<sip:1001@x>;tag=1");
        let seen = arriving(&request, &pbx(), &policies);
        assert_eq!(seen.uri.to_string(), "sip:+4420123@x;user=phone");
        assert_eq!(seen.headers.to().uri.to_string(), "sip:+4420123@x");
        assert_eq!(
            seen.headers.from().uri.to_string(),
            "sip:1001@x",
            "an extension stays one"
        );
        assert_eq!(
            seen.headers.get("P-Asserted-Identity"),
            Some("\"Desk\" <sip:+44201001@x>;x=1")
        );
    }

    #[test]
    fn emergency_numbers_names_and_services_stay() {
        let policies = london();
        for uri in [
            "sip:112@x",
            "sip:999@x",
            "sip:alice@x",
            "urn:service:sos",
            "sip:x",
            "sip:00;ext=1@x",
        ] {
            let request = request(uri, "<sip:a@x>");
            assert_eq!(arriving(&request, &pbx(), &policies).uri.to_string(), uri);
        }
    }

    #[test]
    fn rules_of_one_side_come_first_then_e164_then_rules_of_the_other() {
        let policies = london();
        let rule = |passage, pattern, with| Rewrite::new(passage, Field::From, pattern, with).expect("a rule");
        let pbx = Trunk {
            rewrites: vec![rule(Passage::In, r"^9(\d+)$", "$1"), rule(Passage::Out, ".*", "never")],
            ..pbx()
        };
        let carrier = Trunk {
            rewrites: vec![rule(Passage::Out, r"^\+44(\d+)$", "0044$1")],
            ..Trunk::new("carrier".into(), vec![])
        };
        let mut request = request("sip:1@x", "<sip:90201@x>;tag=1");
        cross(&mut request.headers, &pbx, &carrier, &policies);
        assert_eq!(request.headers.from().to_string(), "<sip:0044201@x>;tag=1");
    }
}
