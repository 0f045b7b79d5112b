//! Any text as `onrecord.toml`: reading never panics, findings can be shown, and what is read is of one piece.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onrecord::config::{SIP_PORT, compile};
use onrecord::model::Timestamp;
use onrecord::policy::{Format, SourceFile, render};
use onrecord::sip::{Transport, Uri};
use onrecord::trunk::Topology;

fuzz_target!(|text: &str| {
    let file = SourceFile { path: "onrecord.toml".to_owned(), text: text.to_owned() };
    let findings = match compile(&file) {
        Err(findings) => {
            assert!(!findings.is_empty());
            findings
        }
        Ok((config, findings)) => {
            assert!(!config.listen.sip.is_empty() && !config.recorder.volumes.is_empty());
            let names = config.trunk_names();
            for route in &config.routes {
                assert!(names.contains(&route.from) && names.contains(&route.to));
            }
            assert!(config.deliveries.keys().all(|name| names.contains(name)));
            let local = ([192, 0, 2, 1], SIP_PORT).into();
            let topology = Topology::new(config.trunks, config.routes, vec![(Transport::Udp, local)]);
            let uri = Uri::parse("sip:+441234@192.0.2.1").expect("a URI");
            for trunk in topology.trunks() {
                assert!(!trunk.peers.is_empty() || !trunk.sites.is_empty());
                let found = topology.destinations(Timestamp::ZERO, trunk, &uri, &mut |max| max);
                assert!(found.is_none_or(|all| all.iter().all(|to| to.flow.local == local)));
            }
            findings
        }
    };
    for format in [Format::Full, Format::Concise, Format::Json, Format::Github, Format::Sarif] {
        let shown = render(&findings, format);
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'));
    }
});
