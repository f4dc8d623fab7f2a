use super::*;

/// Reads a text and flags; shows the scenario, or its mistakes.
fn shown(text: &str, flags: &[(&str, &str)]) -> String {
    let flags: Vec<_> = flags.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    match Scenario::read(Some((Path::new("s.toml"), text)), &flags) {
        Ok(scenario) => scenario.to_string(),
        Err(mistakes) => mistakes.to_string(),
    }
}

fn check(text: &str, expected: &str) {
    let found = shown(text, &[]);
    assert!(found.contains(expected), "{text}\n found: {found}\nwanted: {expected}");
}

#[test]
fn nothing_written_is_a_steady_hundred() {
    assert_eq!(shown("", &[]), "100 devices, arriving over 10 s, 60 s, auto, framing 1, opus, talk 1");
    assert_eq!(Scenario::default().devices, 100);
}

#[test]
fn a_file_is_read() {
    let text = "[devices]\ncount = 9\narrival = \"herd\"\nherd_s = 7.5\n[talk]\nmode = \"manual\"\n[mix]\nidle = 3\nrude = 0.5\n";
    assert_eq!(
        shown(text, &[]),
        "9 devices, all at once, again every 7.5 s, 60 s, manual, framing 1, opus, idle 3 : rude 0.5"
    );
}

#[test]
fn flags_override_the_file() {
    let text = "[devices]\ncount = 9\narrival = \"storm\"\n";
    let found = shown(text, &[("devices", "20"), ("slow-reader", "1"), ("checkin", "true"), ("duration", "2.5")]);
    assert_eq!(found, "20 devices, all at once, 2.5 s, auto, framing 1, opus, slow_reader 1");
}

#[test]
fn a_mistake_is_shown_where_it_stands() {
    assert_eq!(
        shown("[devices]\ncuont = 5\n", &[]),
        "s.toml:2:1: unknown key `cuont` in [devices]\n  |\n2 | cuont = 5\n  | ^^^^^\n  = did you mean `count`?\n"
    );
    check("[devices\n", "s.toml:1:9:");
    check("[mixx]\ntalk = 1\n", "did you mean [mix]?");
    check("[devices]\ncount = 0\n", "s.toml:2:9: 0 is out of range");
    check("[devices]\narrival = \"rampp\"\n", "did you mean \"ramp\"?");
    check("[mix]\ntalk = -1\n", "s.toml:2:8: -1 is out of range");
    check("[mix]\ntalk = \"much\"\n", "s.toml:2:8: this is a text");
    check("[talk]\nframing = 2\n", "`framing` belongs into [device]");
    check("[run]\nduration_s = 5\nwarmup_s = 5\n", "s.toml:3:12: a warm-up of 5 s leaves nothing of 5 s");
}

#[test]
fn a_mistake_in_a_flag_is_shown_under_its_name() {
    assert!(
        shown("", &[("devices", "many")]).starts_with("--devices: this is a text"),
        "{}",
        shown("", &[("devices", "many")])
    );
    assert!(shown("", &[("framing", "4")]).contains("--framing: 4 is out of range"));
    assert!(shown("", &[("devizes", "4")]).contains("did you mean --devices?"));
}

#[test]
fn all_mistakes_are_told_at_once() {
    let found = shown("[devices]\ncount = 0\nramp_s = -1\n", &[("mode", "loud")]);
    assert_eq!(found.matches("out of range").count(), 2, "{found}");
    assert!(found.contains("--mode"), "{found}");
}

#[test]
fn a_file_that_is_not_there_is_said_so() {
    let error = Scenario::load(Some(Path::new("/nowhere/s.toml")), &[]).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/s.toml: cannot read the scenario"), "{error}");
}

#[test]
fn behaviours_are_drawn_by_weight() {
    let mix = Mix { talk: 6.0, rude: 2.0, ..Mix::default() };
    let drawn = |share| mix.weights()[mix.at(share)].0;
    assert_eq!([0.0, 0.74, 0.76, 0.999_999].map(drawn), ["talk", "talk", "rude", "rude"]);
    assert_eq!(Mix { idle: 1.0, ..Mix::default() }.at(0.999_999_999_999), 1);
}

#[test]
fn every_flag_stands_for_a_key_that_exists() {
    for flag in FLAGS {
        let value = match flag.name {
            "arrival" => "storm",
            "mode" => "manual",
            "codec" => "pcm",
            "checkin" => "true",
            "framing" => "2",
            _ => "3",
        };
        let read = Scenario::read(None, &[(flag.name.to_owned(), value.to_owned())]);
        let changed = read.unwrap_or_else(|e| panic!("--{}: {e}", flag.name)) != Scenario::default();
        // A herd's period and a ramp of the default length change nothing by themselves.
        assert!(changed || flag.name == "herd", "--{} changes nothing", flag.name);
    }
    assert_eq!(flags_help().lines().count(), FLAGS.len());
}

#[test]
fn the_examples_are_scenarios() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        Scenario::load(Some(&path), &[]).unwrap_or_else(|e| panic!("{e}"));
        seen += 1;
    }
    assert!(seen >= 3);
}
