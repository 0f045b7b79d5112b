//! The beginning of a seed: who is there, and who calls whom when.

use std::collections::BTreeMap;

use onrecord::engine::Signaling;
use onrecord::model::Timestamp;

use super::doubting::Doubting;
use super::draw;
use super::law::Law;
use super::network::Network;
use super::phone::{Alarm, PROXY, Phone, Stage};
use super::process::{Policies, config};
use super::rng::Rng;
use super::script::{Intrusion, Third};
use super::seat::Seat;
use super::studio::Studio;
use super::world::{Happening, World};

impl World {
    pub fn new(seed: u64, policies: &Policies, tells: bool) -> Self {
        let mut rng = Rng::new(seed);
        let mut script = draw::draw(&mut rng);
        // Of their own, so that a seed is as it was.
        let mut telling = Rng::new(seed ^ 0x7866);
        for nature in &mut script.natures {
            nature.aware = telling.one_in(3);
        }
        let policies = &policies.telling(*telling.pick(&[0, 0, 0, 0, 0, 0, 1, 2]));
        script.studio.breaks_off_prompts = telling.one_in(4);
        let start = Timestamp::from_millis(1_763_800_000_000);
        let mut phones = Seat::ALL.map(|seat| {
            let forks = if seat == Seat::B {
                script.forks.clone()
            } else {
                vec![draw::draw_lone(&mut rng)]
            };
            let nature = script.natures[seat.index()].clone();
            let mut phone = Phone::new(seat, rng.fork(), nature, forks);
            phone.by_stream = script.streams[seat.index()];
            phone.trying = script.trying;
            phone.exchangeable = script.executes;
            phone.knows_third = script.third != Third::Spare;
            phone
        });
        phones[1].doubting = script.doubt.map(Doubting::new);
        for phone in &mut phones {
            if let Some(at) = phone.nature.dies_at {
                phone.alarm(start + at, Alarm::Die);
            }
            phone.find_due();
        }
        phones[0].plan(start, &script.calling, seed);
        let mut world = Self {
            now: start,
            start,
            signaling: Signaling::new(config(&script), policies.of(script.grade), seed),
            phones,
            network: Network::new(rng.fork(), script.links),
            asked_by: BTreeMap::new(),
            studio: Studio::new(script.studio.clone()),
            law: Law::new(script.grade),
            queue: BTreeMap::new(),
            queued: 0,
            beat: start,
            heard: None,
            policies: policies.clone(),
            grade: script.grade,
            kept: BTreeMap::new(),
            processes: seed,
            deaf: false,
            tells,
            ladder: Vec::new(),
            script,
        };
        for (at, trouble) in world.script.troubles.clone() {
            world.push(start + at, Happening::Trouble(trouble));
        }
        world.law.exchanges_parties = world.script.executes;
        match world.script.third {
            Third::Consulted(at) => world.consults(start + at),
            Third::Intruder(at, intrusion) => world.push(start + at, Happening::Intrudes(intrusion)),
            Third::Spare | Third::Target => {}
        }
        world
    }

    /// A calls C beside B, and means to join them.
    fn consults(&mut self, at: Timestamp) {
        let caller = &mut self.phones[0];
        let placing = caller.another(format!("sip:{}@{PROXY}", Seat::C.user()), String::new());
        caller.place_at(at, placing);
        caller.alarm(at, Alarm::Join(0));
        caller.find_due();
    }

    /// C has learned of a dialog of A's or B's, and calls into it.
    pub fn intrude(&mut self, intrusion: Intrusion) {
        let up = |seat: Seat| {
            let mut dialogs = self.phones[seat.index()].dialogs.iter();
            let dialog = dialogs.find(|dialog| match dialog.stage {
                Stage::Confirmed | Stage::Accepted => true,
                Stage::Early => dialog.is_caller,
                _ => false,
            })?;
            Some((
                seat,
                dialog.call_id.clone(),
                dialog.local_tag.clone(),
                dialog.remote_tag.clone(),
            ))
        };
        let Some((seat, call_id, ours, theirs)) = up(Seat::A).or_else(|| up(Seat::B)) else {
            return;
        };
        let (name, more) = match intrusion {
            Intrusion::Replaces => ("Replaces", ""),
            Intrusion::ReplacesEarly => ("Replaces", ";early-only"),
            Intrusion::Join => ("Join", ""),
        };
        // As the phone itself knows it, or as its far end does, which is the proxy.
        let third = &mut self.phones[2];
        let (uri, ours, theirs) = if third.rng.one_in(2) {
            (format!("sip:{}@{PROXY}", seat.user()), ours, theirs)
        } else {
            (format!("sip:{PROXY}"), theirs, ours)
        };
        let more = format!("{name}: {call_id};to-tag={ours};from-tag={theirs}{more}\r\n");
        let placing = third.another(uri, more);
        third.seen.insert("a call into a dialog");
        third.place_at(self.now, placing);
        third.find_due();
    }
}
