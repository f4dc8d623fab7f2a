use super::*;

fn no_environment() -> Environment {
    Environment::new()
}

fn read(text: &str) -> Result<Loaded, Box<Mistakes>> {
    parse(Some((Path::new("voxlane.toml"), text)), &no_environment())
}

/// The whole message for a file with mistakes.
fn complaint(text: &str) -> String {
    read(text).map(|_| String::new()).unwrap_or_else(|mistakes| mistakes.to_string())
}

#[test]
fn nothing_is_needed() {
    let loaded = parse(None, &no_environment()).unwrap();
    assert_eq!(loaded.config.listen.device.to_string(), "0.0.0.0:8000");
    assert_eq!(loaded.config.asr.provider, AsrProvider::Whisper);
    assert!(loaded.keys.iter().all(|k| k.origin == Origin::Default));
}

#[test]
fn the_environment_wins_over_the_file() {
    let environment = Environment::from([
        ("VOXLANE_SHARDS_COUNT".to_owned(), "3".to_owned()),
        ("VOXLANE_SHARDS_PIN".to_owned(), "false".to_owned()),
        ("VOXLANE_AUTH_ALLOW".to_owned(), "aa:bb, cc:dd".to_owned()),
        ("VOXLANE_LLM_MODEL".to_owned(), "4".to_owned()),
        ("VOXLANE_LOG".to_owned(), "debug".to_owned()),
        ("VOXLANE_SERVICE_HOST".to_owned(), "10.0.0.1".to_owned()),
    ]);
    let loaded = parse(Some((Path::new("v.toml"), "[shards]\ncount = 2\n")), &environment).unwrap();
    assert_eq!((loaded.config.shards.count, loaded.config.shards.pin), (3, false));
    assert_eq!(loaded.config.auth.allow, ["aa:bb", "cc:dd"]);
    assert_eq!(loaded.config.llm.service.model, "4");
}

#[test]
fn a_variable_that_names_no_key_of_ours_is_refused() {
    let environment = Environment::from([("VOXLANE_LLM_MODLE".to_owned(), "x".to_owned())]);
    let text = parse(None, &environment).unwrap_err().to_string();
    assert_eq!(
        text,
        "environment variable VOXLANE_LLM_MODLE: names no key of the configuration\n  = did you mean VOXLANE_LLM_MODEL?\n"
    );
}

#[test]
fn a_mistake_is_shown_in_its_line() {
    assert_eq!(
        complaint("# mine\n[listen]\ndevise = \"0.0.0.0:9000\"\n"),
        "voxlane.toml:3:1: unknown key `devise` in [listen]\n  |\n3 | devise = \"0.0.0.0:9000\"\n  | ^^^^^^\n  = did you mean `device`?\n"
    );
}

#[test]
fn all_mistakes_are_shown_at_once_in_the_order_of_the_file() {
    let text =
        complaint("[shrads]\ncount = 1\n[vad]\nsilence_ms = \"long\"\nengine = \"silero\"\n[listen]\ndevice = 8000\n");
    let lines: Vec<&str> = text.lines().filter(|l| l.starts_with("voxlane.toml")).collect();
    assert_eq!(
        lines,
        [
            "voxlane.toml:1:2: unknown section `shrads`",
            "voxlane.toml:4:14: this is a text",
            "voxlane.toml:5:10: \"silero\" is not a known value",
            "voxlane.toml:7:10: this is a whole number",
        ]
    );
    assert!(text.contains("did you mean [shards]?"), "{text}");
}

/// Mistakes people make, each with the place and a part of the advice.
#[test]
fn common_mistakes_are_explained() {
    let cases = [
        ("[asr]\nprovider = \"wisper\"\n", ":2:12:", "did you mean \"whisper\"?"),
        ("[llm]\nprovider = \"openai\"\n", ":2:12:", "llm.base_url = "),
        ("[llm]\nprovider = \"openai\"\nbase_url = \"http://h:1/v1\"\n", ":2:12:", "llm.model"),
        ("[llm]\nbase_url = \"localhost:11434\"\n", ":2:12:", "http://"),
        ("[llm]\nbase_url = \"http://localhost:11434\"\n", ":2:12:", "\"http://localhost:11434/v1\"?"),
        ("[tts]\nprovider = \"command\"\n", ":2:12:", "tts.command"),
        ("[tts]\ncommand = \"piper\"\n", ":2:11:", "a list of texts"),
        ("[tts]\nopus_complexity = \"11\"\n", ":2:19:", "\"0\" to \"10\""),
        ("[shards]\ncount = 1000\n", ":2:9:", "from 0 to 256"),
        ("[shards]\npin = \"yes\"\n", ":2:7:", "true or false"),
        ("[shards]\ncount = -1\n", ":2:9:", "from 0 to 256"),
        ("[listen]\ndevice = \"8000\"\n", ":2:10:", "IP address and a port"),
        ("[listen]\nhttp = \"0.0.0.0:8000\"\n", ":2:8:", "a port of its own"),
        ("[listen]\nadmin = \"0.0.0.0:8009\"\n", ":2:9:", "admin.token"),
        ("[listen]\ntls_cert = \"a.pem\"\n", ":2:12:", "TLS needs both"),
        ("[listen]\npath = \"xiaozhi\"\n", ":2:8:", "begins with /"),
        ("[auth]\nmode = \"tokens\"\n", ":2:8:", "did you mean \"token\"?"),
        ("[auth]\nsecret_file = \"/nonexistent/secret\"\n", ":2:15:", "cannot read"),
        ("[llm]\napi_key = \"k\"\napi_key_file = \"/x\"\n", ":3:16:", "keep one"),
        ("[vad]\nstart_threshold = 0.3\nstay_threshold = 0.4\n", ":3:18:", "at least as sure"),
        ("[audio]\nrate = 22050\n", ":2:8:", "24000"),
        ("[audio]\nframe_ms = 30\n", ":2:12:", "20, 40 or 60"),
        ("[asr]\nlanguage = \"english\"\n", ":2:12:", "two-letter"),
        ("[log]\nlevel = \"verbose\"\n", ":2:9:", "possible are"),
        ("silence_ms = 300\n", ":1:1:", "belongs into [vad]"),
        ("[vad]\nidle_s = 5\n", ":2:1:", "belongs into [session]"),
        ("listen = 5\n", ":1:1:", "[listen]"),
        ("[listen\ndevice = 1\n", ":1:8:", ""),
        ("[listen]\ndevice = \"0.0.0.0:8000\"\ndevice = \"0.0.0.0:8001\"\n", ":3:1:", ""),
        ("[alerts]\nrules = [\"a > 1\"]\n", ":2:9:", "a rule is NAME"),
        ("[alerts]\nrules = [\"a: b > 1 for 1s\", \"a: c > 1 for 1s\"]\n", ":2:9:", "name of its own"),
        ("[alerts]\nwebhook = \"localhost:9000\"\n", ":2:11:", "begin with http"),
        ("[services]\nchoice = \"weigted\"\n", ":2:10:", "did you mean \"weighted\"?"),
        ("[session]\nidle_s = 1.5\n", ":2:10:", "a whole number"),
        ("[session]\nwake_words = [1, 2]\n", ":2:14:", "a list of texts"),
    ];
    for (text, place, advice) in cases {
        let said = complaint(text);
        assert!(said.contains(place) && said.contains(advice), "for\n{text}\nit was said\n{said}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let text = load(Some(Path::new("/nonexistent/voxlane.toml")), &no_environment()).unwrap_err().to_string();
    assert!(text.starts_with("/nonexistent/voxlane.toml: cannot read the configuration"), "{text}");
    assert!(text.contains("config/voxlane.toml"));
}

#[test]
fn a_secret_is_masked_and_may_come_from_a_file() {
    let loaded = read("[llm]\napi_key = \"canary-5521\"\n").unwrap();
    assert_eq!(loaded.config.llm.service.api_key.as_deref(), Some("canary-5521"));
    assert!(loaded.keys.iter().all(|k| !k.value.contains("canary")));
    let loaded = read("[alerts]\nwebhook = \"https://hooks.example/canary-5521\"\n").unwrap();
    assert_eq!(loaded.config.alerts.webhook.as_deref(), Some("https://hooks.example/canary-5521"));
    assert!(loaded.keys.iter().all(|k| !k.value.contains("canary")));
    let path = std::env::temp_dir().join(format!("voxlane-key-{}", std::process::id()));
    std::fs::write(&path, "from-a-file\n").unwrap();
    let loaded = read(&format!("[llm]\napi_key_file = {path:?}\n")).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(loaded.config.llm.service.api_key.as_deref(), Some("from-a-file"));
}

/// The example lists every key once, commented out, with its default; uncommented it is the default configuration.
#[test]
fn the_example_is_complete_and_true() {
    let example = include_str!("../../config/voxlane.toml");
    let uncommented: String = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let loaded = read(&uncommented).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    for known in &loaded.keys {
        let given = matches!(known.origin, Origin::File(_));
        assert!(given, "{}.{} is missing in config/voxlane.toml", known.section, known.key);
        let computed = known.section == "state"; // depends on the user
        assert!(
            computed || known.value == known.default,
            "{}.{} is {} there, not the default {}",
            known.section,
            known.key,
            known.value,
            known.default
        );
    }
}

#[test]
fn a_backup_is_a_line_of_words_read_like_the_section() {
    let text = r#"
[asr]
language = "zh"
backups = ["openai base_url=http://h:1/v1/ model=4 concurrency=3", "whisper language=en"]
[llm]
backups = ["builtin"]
[tts]
backups = ["command command=piper,--output-raw format=pcm rate=22050"]
"#;
    let config = read(text).unwrap_or_else(|mistakes| panic!("{mistakes}")).config;
    let [service, whisper] = &config.asr.backups[..] else { panic!("{:?}", config.asr.backups) };
    assert_eq!((service.service.base_url.as_str(), service.service.model.as_str()), ("http://h:1/v1", "4"));
    assert_eq!((service.concurrency, service.language.as_deref()), (3, Some("zh")), "the language is the section's");
    assert_eq!((whisper.provider, whisper.language.as_deref()), (AsrProvider::Whisper, Some("en")));
    assert_eq!(config.llm.backups[0].provider, LlmProvider::Builtin);
    assert_eq!(config.tts.backups[0].command, ["piper", "--output-raw"]);
    assert_eq!((config.tts.backups[0].format, config.tts.backups[0].rate), (TtsFormat::Pcm, 22_050));
}

#[test]
fn mistakes_in_a_backup_are_explained_in_its_words() {
    let cases = [
        ("opnai model=m", "in \"opnai model=m\", provider: \"opnai\" is not a known value", "did you mean \"openai\"?"),
        ("openai modle=m", "modle: unknown key", "did you mean llm.model?"),
        ("openai base_url=http://h:1/v1", "needs a model", "llm.model"),
        ("openai temperature=9", "temperature: 9 is out of range", "from 0 to 2"),
        ("openai api_key=canary", "is no backup", "api_key_file="),
        ("openai model=a model=b", "is no backup", "model is given twice"),
        ("model=a", "is no backup", "write a provider"),
        ("", "is no backup", "it is empty"),
    ];
    for (backup, what, help) in cases {
        let said = complaint(&format!("[llm]\nbackups = [{backup:?}]\n"));
        assert!(said.contains(what) && said.contains(help) && said.contains(":2:11:"), "{backup}: {said}");
    }
    let said = complaint("[tts]\nbackups = [\"espeak\", \"espeak\", \"espeak\", \"espeak\"]\n");
    assert!(said.contains("there are 4 backups") && said.contains("keep the best 3"), "{said}");
}
