//! `tools/setup` on machines that lack something: what it asks for, what it leaves alone, and what it says.
//!
//! Such a machine is a folder of programs that do nothing but write down how they were called; the search path is that folder.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const MODEL: &str = "ggml-base-q8_0.bin";

#[test]
fn a_plain_user_is_told_the_exact_command_and_nothing_is_installed() {
    let machine = Machine::new("plain");
    machine.lack("cmake").lack("espeak-ng").lack("python3");
    let said = machine.setup().expect_err("packages are missing");
    let command =
        "sudo apt-get update && sudo apt-get install -y --no-install-recommends cmake espeak-ng python3-pip\n";
    assert!(said.contains(command), "{said}");
    assert_eq!(machine.calls(), "");
}

#[test]
fn root_gets_what_is_missing_installed_and_no_more() {
    let machine = Machine::new("root");
    machine.program("id", "echo 0").lack("cmake").lack("g++");
    let said = machine.setup().expect_err("the download fails later");
    assert!(said.contains("installing g++ cmake"), "{said}");
    let calls = machine.calls();
    let install = "apt-get install -y --no-install-recommends g++ cmake -qq\n";
    assert!(calls.starts_with(install), "{calls}");
    assert_eq!(calls.matches("apt-get").count(), 1, "{calls}");
}

#[test]
fn lists_of_packages_are_fetched_only_where_they_are_too_old() {
    let machine = Machine::new("lists");
    machine.program("id", "echo 0").lack("make");
    let lists = machine.0.join("lists");
    let apt = format!("case $1 in update) : >'{0}' ;; *) [ -e '{0}' ] ;; esac", lists.display());
    machine.logged("apt-get", &apt);
    let said = machine.setup().expect_err("the download fails later");
    assert!(said.contains("the download failed") && !said.contains("the command was"), "{said}");
    let install = "apt-get install -y --no-install-recommends make -qq\n";
    assert!(machine.calls().starts_with(&[install, "apt-get update -qq\n", install].concat()), "{}", machine.calls());

    let machine = Machine::new("network");
    machine.program("id", "echo 0").lack("make").logged("apt-get", "exit 100");
    let said = machine.setup().expect_err("nothing can be installed");
    assert!(said.contains("the command was: apt-get install -y --no-install-recommends make\n"), "{said}");
}

#[test]
fn the_sum_of_the_model_is_computed_once() {
    let machine = Machine::new("stamp");
    let model = machine.models().join(MODEL);
    fs::File::create(&model).unwrap().set_len(81_768_585).unwrap();
    let sum = "f85d8c7315199570e821dde83c26cbafb3c9d08664f0c774e1907cb5ef72b301";
    machine.lack("sha256sum").logged("sha256sum", &format!("cat >'/dev/null'; echo '{sum}  -'"));
    let sums = || machine.calls().matches("sha256sum").count();
    for _ in 0..2 {
        machine.setup().expect("all is in place");
        assert_eq!(sums(), 1, "{}", machine.calls());
    }
    fs::File::options().write(true).open(&model).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    machine.setup().expect("all is in place");
    assert_eq!(sums(), 2, "another file than the one that was seen");
    // Cut off: the size alone tells.
    fs::write(&model, "short").unwrap();
    let said = machine.setup().expect_err("the packages are gone");
    assert!(said.contains("not the file expected"), "{said}");
    assert_eq!(sums(), 2);
}

#[test]
fn without_packages_of_debian_their_names_are_said() {
    let machine = Machine::new("other");
    machine.lack("make").lack("apt-get");
    let said = machine.setup().expect_err("a package is missing");
    assert!(said.contains("missing: make "), "{said}");
}

#[test]
fn a_toolchain_too_old_or_absent_is_explained() {
    let machine = Machine::new("rust");
    machine.program("cargo", "echo 'cargo 1.9.0 (a 2016-05-01)'");
    let said = machine.setup().expect_err("too old");
    assert!(said.contains("cargo 1.9 is too old") && said.contains("rustup update"), "{said}");
    machine.lack("cargo");
    let said = machine.setup().expect_err("absent");
    assert!(said.contains("no Rust toolchain") && said.contains("rustup"), "{said}");
    assert_eq!(machine.calls(), "");
}

#[test]
fn a_download_that_fails_leaves_the_cure_and_nothing_else() {
    let machine = Machine::new("download");
    fs::write(machine.models().join(MODEL), "of another version").unwrap();
    let said = machine.setup().expect_err("the packages are gone");
    for words in ["not the file expected", "the download failed", "asr.model", "VOXLANE_ASR_MODEL", MODEL] {
        assert!(said.contains(words), "{words} is missing: {said}");
    }
    assert!(
        machine.calls().contains("--require-hashes") && machine.calls().contains("--no-deps"),
        "{}",
        machine.calls()
    );
    let left: Vec<_> = fs::read_dir(machine.models()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [MODEL]);
    assert_eq!(fs::read(machine.models().join(MODEL)).unwrap(), b"of another version");
}

#[test]
fn whoever_brings_a_model_needs_neither_download_nor_pip() {
    let machine = Machine::new("own");
    machine.lack("python3");
    let said = machine.setup_own("/their/ggml-small.bin").expect("nothing is missing");
    assert!(said.contains("yours: /their/ggml-small.bin"), "{said}");
    // A configuration may name one; set-up cannot know.
    let said = machine.setup_own("").expect("the server will say what it misses");
    assert!(said.contains("the download failed") && said.contains("Going on without"), "{said}");
    assert_eq!(machine.calls(), "");
}

/// A folder of programs, one of models, and what was called.
struct Machine(PathBuf);

impl Machine {
    /// A machine of a plain user that lacks only the model, and cannot download it.
    fn new(name: &str) -> Machine {
        let machine = Machine(std::env::temp_dir().join(format!("voxlane-setup-{}-{name}", std::process::id())));
        fs::create_dir_all(machine.bin()).unwrap();
        fs::create_dir_all(machine.models()).unwrap();
        for tool in ["bash", "cat", "dirname", "head", "mkdir", "mktemp", "rm", "sed", "sha256sum", "sort", "stat"] {
            symlink(found(tool), machine.bin().join(tool)).unwrap();
        }
        machine.program("id", "echo 1000").program("cargo", "echo 'cargo 99.0.0 (a 2099-01-01)'");
        machine.logged("apt-get", "").logged("python3", "case $3 in download) exit 1 ;; esac");
        for tool in ["gcc", "g++", "make", "cmake", "espeak-ng"] {
            machine.program(tool, "");
        }
        machine
    }

    fn program(&self, name: &str, script: &str) -> &Machine {
        let path = self.bin().join(name);
        fs::write(&path, format!("#!{}\n{script}\n", found("bash").display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn logged(&self, name: &str, script: &str) -> &Machine {
        self.program(name, &format!("echo {name} \"$@\" >>'{}'\n{script}", self.0.join("calls").display()))
    }

    fn lack(&self, name: &str) -> &Machine {
        fs::remove_file(self.bin().join(name)).unwrap();
        self
    }

    /// Runs set-up: all it said, as an error if it failed.
    fn setup(&self) -> Result<String, String> {
        self.answer(bash().arg(script()))
    }

    /// The same as `tools/run` does it for somebody who has, or seems to have, a model of their own.
    fn setup_own(&self, model: &str) -> Result<String, String> {
        let mut command = bash();
        command.args(["-c", ". \"$1\"; setup own", "run"]).arg(script()).env("root", env!("CARGO_MANIFEST_DIR"));
        self.answer(command.env("VOXLANE_ASR_MODEL", model))
    }

    fn answer(&self, command: &mut Command) -> Result<String, String> {
        let output = command.env("PATH", self.bin()).env("VOXLANE_MODELS", self.models()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        if output.status.success() { Ok(said) } else { Err(said) }
    }

    /// What was called of the logged programs, but for the question whether pip is there.
    fn calls(&self) -> String {
        let calls = fs::read_to_string(self.0.join("calls")).unwrap_or_default();
        calls.lines().filter(|line| *line != "python3 -m pip --version").map(|line| format!("{line}\n")).collect()
    }

    fn bin(&self) -> PathBuf {
        self.0.join("bin")
    }

    fn models(&self) -> PathBuf {
        self.0.join("models")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A shell that knows nothing of this machine.
fn bash() -> Command {
    let mut bash = Command::new(found("bash"));
    bash.env_clear();
    bash
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/setup")
}

/// A program of this machine.
fn found(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(name));
    places.find(|path| path.is_file()).unwrap_or_else(|| panic!("{name} is not installed"))
}
