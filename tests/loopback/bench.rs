//! `serve` on loopback, a phone on either side of it, and what its verbs say.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::phone::{Heard, Phone};

/// Each starts a process and takes some milliseconds.
pub const LOOKS_MAX: usize = 5_000;

/// A `serve` of its own address and data, with a phone on either side of it.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub server: Option<Child>,
    pub proxy: SocketAddr,
    pub a: Phone,
    pub b: Phone,
}

impl Bench {
    /// `net`: a loopback network of its own for each test, 127.`net`.0.0.
    pub fn new(net: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (format!("127.{net}.0.2"), format!("127.{net}.0.3"));
        let config = format!(
            "node = \"bench\"\ndata = \"data\"\n[listen]\nsip = [\"udp:127.{net}.0.1:5060\"]\n\
             media = {{ address = \"127.{net}.0.1\", ports = \"20000-20199\" }}\n\
             [[trunk]]\nname = \"pbx\"\npeers = [\"{a}:5060\"]\n[[trunk]]\nname = \"carrier\"\npeers = [\"{b}:5060\"]\n\
             [[route]]\nfrom = \"pbx\"\nto = \"carrier\"\n\
             [recorder]\nvolumes = [{{ path = \"data/spool\", reserve = \"1MiB\" }}]\n"
        );
        fs::write(folder.path().join("onrecord.toml"), config).unwrap();
        fs::create_dir(folder.path().join("policies")).unwrap();
        let bench = Self {
            proxy: format!("127.{net}.0.1:5060").parse().unwrap(),
            a: Phone::new("alice", &a),
            b: Phone::new("bob", &b),
            server: None,
            folder,
        };
        bench.write_policy("everyone", "");
        let grants = "[[grant]]\npolicy = \"everyone\"\nto = [\"global\"]\n";
        fs::write(bench.folder.path().join("policies/grants.toml"), grants).unwrap();
        bench
    }

    pub fn write_policy(&self, description: &str, more: &str) {
        let text = format!(
            "[policy]\nid = \"everyone\"\ndescription = \"{description}\"\nenabled = true\n\
             record_rerouted_calls = true\n{more}\n[[policy.recorder]]\nid = \"embedded\"\n"
        );
        fs::write(self.folder.path().join("policies/everyone.toml"), text).unwrap();
    }

    /// Puts `after` into the config for `before`.
    pub fn change_config(&self, before: &str, after: &str) {
        let path = self.folder.path().join("onrecord.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(before), "{before}");
        fs::write(path, text.replace(before, after)).unwrap();
    }

    /// Starts `serve` and waits until it answers.
    pub fn start(&mut self) {
        self.start_with("onrecord.toml", "data");
    }

    pub fn start_with(&mut self, config: &str, data: &str) {
        if let Err(log) = self.try_start(config, data) {
            panic!("serve ended: {log}");
        }
    }

    /// What it logged, if it ends instead.
    pub fn try_start(&mut self, config: &str, data: &str) -> Result<(), String> {
        let mut serve = Command::new(env!("CARGO_BIN_EXE_onrecord"));
        let log = fs::File::create(self.folder.path().join("serve.log")).unwrap();
        serve.args(["serve", "--config", config, "--allow-faults"]);
        let mut server = serve
            .current_dir(self.folder.path())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        while self.verb(&["status", "--data", data]).status.code() == Some(2) {
            if server.try_wait().unwrap().is_some() {
                return Err(self.log());
            }
        }
        self.server = Some(server);
        Ok(())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("serve.log")).unwrap_or_default()
    }

    pub fn verb(&self, arguments: &[&str]) -> Output {
        let mut verb = Command::new(env!("CARGO_BIN_EXE_onrecord"));
        verb.args(arguments).current_dir(self.folder.path()).output().unwrap()
    }

    pub fn status(&self) -> Value {
        let output = self.verb(&["status", "--data", "data", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        let id = self.server.as_ref().unwrap().id();
        kill_process(Pid::from_raw(id.try_into().unwrap()).unwrap(), signal).unwrap();
    }

    pub fn ended(&mut self) -> ExitStatus {
        self.server.take().unwrap().wait().unwrap()
    }

    pub fn turn_fault(&self, fault: &str) {
        let line = format!("{{\"do\":\"fault\",\"fault\":\"{fault}\"}}");
        let request = serde_json::from_str(&line).unwrap();
        let reply = onrecord::live::control::ask(&self.folder.path().join("data"), &request).unwrap();
        assert_eq!(reply, onrecord::live::control::Reply::Done);
    }

    /// Asks for the status until it is as it should be.
    pub fn until(&self, is_so: impl Fn(&Value) -> bool) {
        let mut last = Value::Null;
        for _ in 0..LOOKS_MAX {
            last = self.status();
            if is_so(&last) {
                return;
            }
        }
        panic!("never so: {last}\n{}", self.log());
    }

    /// It is asked to end, and does so in good order.
    pub fn ends_well(&mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.ended().code(), Some(0), "{}", self.log());
    }

    /// A call that nobody has said anything in. Returns the INVITE that B got and the 200 that A got.
    pub fn connect(&self, call_id: &str) -> [Heard; 2] {
        self.a.invite(self.proxy, "bob", call_id);
        let invite = self.b.hear("INVITE");
        self.b.accept(&invite);
        let ok = self.a.hear("SIP/2.0 200");
        self.a.ack(self.proxy, &ok);
        self.b.hear("ACK");
        [invite, ok]
    }

    /// A call with one packet each way. Returns the 200 that A got.
    pub fn call(&mut self, call_id: &str) -> Heard {
        let [invite, ok] = self.connect(call_id);
        self.talk([&ok, &invite], 1);
        ok
    }

    /// Both say something, and hear it; `ports`: who told A where to send, and who B.
    pub fn talk(&mut self, ports: [&Heard; 2], packets: usize) {
        for _ in 0..packets {
            self.a.speak(ports[0].media());
            self.b.listen();
            self.b.speak(ports[1].media());
            self.a.listen();
        }
    }

    /// Every recorded call of the catalog, by outcome.
    pub fn outcomes(&self) -> Vec<(String, bool)> {
        let catalog = fs::read_to_string(self.folder.path().join("data/catalog.jsonl")).unwrap_or_default();
        let outcome = |line: &str| {
            let entry: Value = serde_json::from_str(line).unwrap();
            let exact = entry["accepted"] == entry["stored"];
            (entry["outcome"].as_str().unwrap().to_owned(), exact)
        };
        catalog.lines().map(outcome).collect()
    }

    /// What `calls show` says of the only call that was sealed.
    pub fn facts(&self) -> Value {
        let shown = self.verb(&["calls", "show", &self.only(), "--data", "data", "--json"]);
        serde_json::from_slice(&shown.stdout).unwrap_or_else(|_| panic!("{shown:?}"))
    }

    /// Its file's name, by which verbs find it.
    pub fn only(&self) -> String {
        let [only] = &self.sealed()[..] else {
            panic!("one sealed call: {:?}", self.sealed())
        };
        only.file_name().unwrap().to_str().unwrap().to_owned()
    }

    pub fn sealed(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().join("data/calls")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path)
                } else {
                    found.push(path)
                }
            }
        }
        found
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
            if std::thread::panicking() {
                eprintln!("{}", self.log());
            }
        }
    }
}
