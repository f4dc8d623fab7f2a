//! Everything that is counted: one line each, with its name, labels and meaning. The seed's stages (input, preprocess,
//! detection, queue, processing, result) are the label `stage`.
//!
//! A line may end in the thread that writes it, `worker` or `process`; without it, a shard does. Who writes it shows it from
//! the start, as 0; anybody else's panel shows it once it is not 0. Counters end in `_total`, durations in `_seconds`, and what
//! is both is kept in microseconds; lines of one name have one help text and the same label names (tests below).

/// The kind of thread that writes a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// A shard.
    Shard,
    /// A thread of a pool.
    Worker,
    /// Assembly, control plane.
    Process,
}

macro_rules! writer {
    () => {
        Writer::Shard
    };
    (worker) => {
        Writer::Worker
    };
    (process) => {
        Writer::Process
    };
}

macro_rules! catalog {
    ($(#[$doc:meta])* $kind:ident { $($variant:ident => $name:literal, $labels:literal, $help:literal $(, $writer:ident)?;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum $kind { $(#[doc = $help] $variant,)* }

        impl $kind {
            /// All of them, in order.
            pub const ALL: &'static [$kind] = &[$($kind::$variant,)*];

            /// Metric name.
            pub const fn name(self) -> &'static str {
                match self { $($kind::$variant => $name,)* }
            }

            /// Labels as they stand between the braces of the exposition; may be empty.
            pub const fn labels(self) -> &'static str {
                match self { $($kind::$variant => $labels,)* }
            }

            /// One sentence of meaning.
            pub const fn help(self) -> &'static str {
                match self { $($kind::$variant => $help,)* }
            }

            /// Who writes it.
            pub const fn writer(self) -> Writer {
                match self { $($kind::$variant => writer!($($writer)?),)* }
            }
        }
    };
}

catalog! {
    /// Things that only grow.
    Counter {
        // --- connections
        Accepted => "voxlane_connections_total", r#"event="accepted""#, "Connections by what became of them.";
        Upgraded => "voxlane_connections_total", r#"event="upgraded""#, "Connections by what became of them.";
        Refused => "voxlane_connections_total", r#"event="refused""#, "Connections by what became of them.";
        Closed => "voxlane_connections_total", r#"event="closed""#, "Connections by what became of them.";
        Replaced => "voxlane_connections_total", r#"event="replaced""#, "Connections by what became of them.";
        HttpRequests => "voxlane_http_requests_total", "", "Plain HTTP requests answered on the device port.";
        BytesIn => "voxlane_bytes_total", r#"direction="in""#, "Bytes on device sockets.";
        BytesOut => "voxlane_bytes_total", r#"direction="out""#, "Bytes on device sockets.";
        // --- stage: input
        MessagesIn => "voxlane_items_total", r#"stage="input",item="message""#, "Items that entered a stage.";
        PacketsIn => "voxlane_items_total", r#"stage="input",item="packet""#, "Items that entered a stage.";
        // --- stage: preprocess
        FramesDecoded => "voxlane_items_total", r#"stage="preprocess",item="frame""#, "Items that entered a stage.";
        // --- stage: detection
        Onsets => "voxlane_items_total", r#"stage="detection",item="onset""#, "Items that entered a stage.";
        // --- stage: queue
        BlocksQueued => "voxlane_items_total", r#"stage="queue",item="block""#, "Items that entered a stage.";
        BlocksFed => "voxlane_items_total", r#"stage="processing",item="block""#, "Items that entered a stage.";
        // --- stage: processing
        JobsSubmitted => "voxlane_items_total", r#"stage="processing",item="job""#, "Items that entered a stage.";
        // --- stage: result
        OutcomesIn => "voxlane_items_total", r#"stage="result",item="outcome""#, "Items that entered a stage.";
        PacketsOut => "voxlane_packets_sent_total", "", "Reply packets handed to the socket.";
        FalseStarts => "voxlane_false_starts_total", "", "Onsets that were no speech.";
        Underruns => "voxlane_underruns_total", "", "Replies that ran dry while they were played.";
        // --- drops, from where they happen; a packet is the device's, a reply packet ours
        DroppedMalformedPacket => "voxlane_dropped_total", r#"item="packet",cause="malformed""#, "What was dropped, and why.";
        DroppedEarlyPacket => "voxlane_dropped_total", r#"item="packet",cause="early""#, "What was dropped, and why.";
        DroppedIdlePacket => "voxlane_dropped_total", r#"item="packet",cause="not_listening""#, "What was dropped, and why.";
        DroppedFastPacket => "voxlane_dropped_total", r#"item="packet",cause="too_fast""#, "What was dropped, and why.";
        DroppedMalformedMessage => "voxlane_dropped_total", r#"item="message",cause="malformed""#, "What was dropped, and why.";
        DroppedUnknownMessage => "voxlane_dropped_total", r#"item="message",cause="unknown_type""#, "What was dropped, and why.";
        DroppedIdleMessage => "voxlane_dropped_total", r#"item="message",cause="no_meaning""#, "What was dropped, and why.";
        DroppedSecondHello => "voxlane_dropped_total", r#"item="message",cause="second_hello""#, "What was dropped, and why.";
        DroppedBlock => "voxlane_dropped_total", r#"item="block",cause="queue_full""#, "What was dropped, and why.";
        DroppedJobFull => "voxlane_dropped_total", r#"item="job",cause="pool_full""#, "What was dropped, and why.";
        DroppedJobLate => "voxlane_dropped_total", r#"item="job",cause="deadline""#, "What was dropped, and why.";
        DroppedLateOutcome => "voxlane_dropped_total", r#"item="outcome",cause="late""#, "What was dropped, and why.";
        DroppedOrderFull => "voxlane_dropped_total", r#"item="memory_order",cause="memory_full""#, "What was dropped, and why.";
        DroppedReplyText => "voxlane_dropped_total", r#"item="text",cause="reply_full""#, "What was dropped, and why.";
        DroppedReplyFull => "voxlane_dropped_total", r#"item="reply_packet",cause="send_queue_full""#, "What was dropped, and why.";
        DroppedReplyOver => "voxlane_dropped_total", r#"item="reply_packet",cause="reply_over""#, "What was dropped, and why.";
        // --- pools: the label `pool` tells the kind of job
        JobsOk => "voxlane_jobs_total", r#"result="ok""#, "Jobs that a pool has done, by result.", worker;
        JobsMalformed => "voxlane_jobs_total", r#"result="malformed""#, "Jobs that a pool has done, by result.", worker;
        JobsOverload => "voxlane_jobs_total", r#"result="overload""#, "Jobs that a pool has done, by result.", worker;
        JobsTimeout => "voxlane_jobs_total", r#"result="timeout""#, "Jobs that a pool has done, by result.", worker;
        JobsUnavailable => "voxlane_jobs_total", r#"result="unavailable""#, "Jobs that a pool has done, by result.", worker;
        JobsRefused => "voxlane_jobs_total", r#"result="refused""#, "Jobs that a pool has done, by result.", worker;
        JobsInternal => "voxlane_jobs_total", r#"result="internal""#, "Jobs that a pool has done, by result.", worker;
        JobsCancelled => "voxlane_jobs_total", r#"result="cancelled""#, "Jobs that a pool has done, by result.", worker;
        JobsElsewhere => "voxlane_jobs_elsewhere_total", "", "Utterances that a busy model left to the recognisers behind it.", worker;
        PacketsPassed => "voxlane_reply_packets_total", r#"how="passed""#, "Opus packets of replies by where they were encoded.", worker;
        PacketsEncoded => "voxlane_reply_packets_total", r#"how="encoded""#, "Opus packets of replies by where they were encoded.", worker;
        PacketsKept => "voxlane_reply_packets_total", r#"how="kept""#, "Opus packets of replies by where they were encoded.", worker;
        // --- control plane
        ControlAnswered => "voxlane_control_requests_total", r#"result="answered""#, "Control-plane requests by what became of them.", process;
        ControlLost => "voxlane_control_requests_total", r#"result="lost""#, "Control-plane requests by what became of them.", process;
        ControlRefused => "voxlane_control_requests_total", r#"result="refused""#, "Control-plane requests by what became of them.", process;
        ControlBusy => "voxlane_control_requests_total", r#"result="busy""#, "Control-plane requests by what became of them.", process;
        ControlSlow => "voxlane_control_requests_total", r#"result="slow""#, "Control-plane requests by what became of them.", process;
        LiveOpened => "voxlane_live_watchers_total", r#"event="opened""#, "Watchers of the live page by what became of them.", process;
        LiveRefused => "voxlane_live_watchers_total", r#"event="refused""#, "Watchers of the live page by what became of them.", process;
        LiveSlow => "voxlane_live_watchers_total", r#"event="slow""#, "Watchers of the live page by what became of them.", process;
        // --- turns
        TurnsStarted => "voxlane_turns_total", r#"event="started""#, "Turns by what became of them.";
        TurnsComplete => "voxlane_turns_total", r#"event="complete""#, "Turns by what became of them.";
        TurnsAborted => "voxlane_turns_total", r#"event="aborted""#, "Turns by what became of them.";
        TurnsFailed => "voxlane_turns_total", r#"event="failed""#, "Turns by what became of them.";
        TurnsEmpty => "voxlane_turns_total", r#"event="empty""#, "Turns by what became of them.";
        TurnsClosed => "voxlane_turns_total", r#"event="closed""#, "Turns by what became of them.";
        StopsNotDurable => "voxlane_stops_not_durable_total", "", "Replies whose end had to say that the turn is not on the disk.";
        BargeIns => "voxlane_barge_ins_total", "", "Replies cut short by the user's voice.";
        // --- why connections ended
        EndedByPeer => "voxlane_ended_total", r#"cause="peer""#, "Connections that ended, by cause.";
        EndedBySession => "voxlane_ended_total", r#"cause="session""#, "Connections that ended, by cause.";
        EndedByProtocol => "voxlane_ended_total", r#"cause="protocol""#, "Connections that ended, by cause.";
        EndedByPings => "voxlane_ended_total", r#"cause="ping_flood""#, "Connections that ended, by cause.";
        EndedBySilence => "voxlane_ended_total", r#"cause="silent_peer""#, "Connections that ended, by cause.";
        EndedUnwritable => "voxlane_ended_total", r#"cause="unwritable""#, "Connections that ended, by cause.";
        EndedByHandshake => "voxlane_ended_total", r#"cause="slow_handshake""#, "Connections that ended, by cause.";
        EndedByDrain => "voxlane_ended_total", r#"cause="drain""#, "Connections that ended, by cause.";
        EndedByLoad => "voxlane_ended_total", r#"cause="load""#, "Connections that ended, by cause.";
        // --- refused because there is more to do than can be done in time
        ShedDevices => "voxlane_shed_total", r#"what="connection""#, "What was refused or given up because of too much load.";
        ShedTurns => "voxlane_shed_total", r#"what="turn""#, "What was refused or given up because of too much load.";
        ShedIdlers => "voxlane_shed_total", r#"what="idle_connection""#, "What was refused or given up because of too much load.";
        EndedByPanic => "voxlane_ended_total", r#"cause="panic""#, "Connections that ended, by cause.";
        // --- the shard itself
        SessionPanics => "voxlane_panics_total", r#"what="session""#, "Panics by what they ended: one session, or all of a shard.";
        ShardPanics => "voxlane_panics_total", r#"what="shard""#, "Panics by what they ended: one session, or all of a shard.";
        Quarantined => "voxlane_quarantined_total", "", "Devices sent away whose sessions had broken something twice.";
        LongPasses => "voxlane_long_passes_total", "", "Passes of a shard's loop that took more than 20 ms.";
        DescriptorsOut => "voxlane_accept_pauses_total", "", "Times that accepting rested because the process had no file descriptor left.";
        HandedOver => "voxlane_handed_over_total", "", "Connections given to an emptier shard.";
        LettersLost => "voxlane_letters_lost_total", "", "Letters between shards that found the mailbox full.";
        TokensInGrace => "voxlane_tokens_in_grace_total", "", "Devices let in by a token past its lifetime.";
        // --- what a thread does with its time; kept in microseconds, shown in seconds
        Busy => "voxlane_busy_seconds_total", "", "Time at work: a shard outside its wait, a worker on a job.";
        Waited => "voxlane_waited_seconds_total", "", "Time that a shard slept in its reactor.";
        Passes => "voxlane_passes_total", "", "Passes of a shard's loop.";
        Sleeps => "voxlane_sleeps_total", "", "Times that a shard slept and was woken: by a socket, a deadline, a doorbell.";
        Rung => "voxlane_doorbells_rung_total", "", "Doorbells rung for other threads; only those that sleep cost a wake call.";
        CallsWait => "voxlane_syscalls_total", r#"call="wait""#, "System calls made for devices.";
        CallsRead => "voxlane_syscalls_total", r#"call="read""#, "System calls made for devices.";
        CallsWrite => "voxlane_syscalls_total", r#"call="write""#, "System calls made for devices.";
        CallsAccept => "voxlane_syscalls_total", r#"call="accept""#, "System calls made for devices.";
        CallsTimer => "voxlane_syscalls_total", r#"call="timer""#, "System calls made for devices.";
        CallsWake => "voxlane_syscalls_total", r#"call="wake""#, "System calls made for devices.";
        CallsRegister => "voxlane_syscalls_total", r#"call="register""#, "System calls made for devices.";
        CallsSocket => "voxlane_syscalls_total", r#"call="socket""#, "System calls made for devices.";
        Allocations => "voxlane_allocations_total", "", "Blocks of memory asked for.";
        AllocatedBytes => "voxlane_allocated_bytes_total", "", "Bytes of memory asked for, whether given back or not.";
    }
}

catalog! {
    /// Things that go up and down.
    Gauge {
        Connections => "voxlane_connections", "", "Open connections.";
        Sessions => "voxlane_sessions", "", "Sessions between hello and close.";
        Idle => "voxlane_sessions_in_phase", r#"phase="idle""#, "Sessions between hello and close, by phase.";
        Listening => "voxlane_sessions_in_phase", r#"phase="listening""#, "Sessions between hello and close, by phase.";
        Thinking => "voxlane_sessions_in_phase", r#"phase="thinking""#, "Sessions between hello and close, by phase.";
        Speaking => "voxlane_sessions_in_phase", r#"phase="speaking""#, "Sessions between hello and close, by phase.";
        // --- depths of what may fill up
        SendQueueBytes => "voxlane_queue_depth", r#"queue="send_bytes""#, "What waits in a queue.";
        Mailbox => "voxlane_queue_depth", r#"queue="mailbox""#, "What waits in a queue.";
        Backlog => "voxlane_queue_depth", r#"queue="backlog""#, "What waits in a queue.";
        AsrWaiting => "voxlane_queue_depth", r#"queue="asr_jobs""#, "What waits in a queue.";
        LlmWaiting => "voxlane_queue_depth", r#"queue="llm_jobs""#, "What waits in a queue.";
        TtsWaiting => "voxlane_queue_depth", r#"queue="tts_jobs""#, "What waits in a queue.";
        MemoryOrders => "voxlane_queue_depth", r#"queue="memory_orders""#, "What waits in a queue.";
        LoadScore => "voxlane_load_score", "", "Load as admission weighs it: 100 where users begin to suffer.";
        LoadLevel => "voxlane_load_level", "", "What load makes a shard give up: 1 extras, 2 newcomers, 3 turns beyond a limit, 4 idle connections.";
        TurnsAdmitted => "voxlane_turns_admitted", "", "Admitted turns under way.";
        TurnsMost => "voxlane_turns_admitted_max", "", "Admitted turns that may be under way at once; 0: no limit was needed lately.";
        AsrShut => "voxlane_queue_shut", r#"queue="asr_jobs""#, "Shards whose queue kept overflowing and is shut to new work until half of it is done.";
        LlmShut => "voxlane_queue_shut", r#"queue="llm_jobs""#, "Shards whose queue kept overflowing and is shut to new work until half of it is done.";
        TtsShut => "voxlane_queue_shut", r#"queue="tts_jobs""#, "Shards whose queue kept overflowing and is shut to new work until half of it is done.";
        LiveWatchers => "voxlane_live_watchers", "", "Watchers of the live page.", process;
        WorkersBusy => "voxlane_workers_busy", "", "Threads of a pool that have a job.", worker;
    }
}

catalog! {
    /// Durations, kept as histograms and as the last 1000 values.
    Series {
        LoopDuration => "voxlane_loop_duration_seconds", "", "One pass of a shard's loop, outside the reactor.";
        LoopLateness => "voxlane_loop_lateness_seconds", "", "How late a shard woke after the deadline it had asked for.";
        FrameLateness => "voxlane_frame_lateness_seconds", "", "How late a reply packet was written after its scheduled instant.";
        // --- milestones of a turn, as the session marks them
        EndOfUtterance => "voxlane_turn_seconds", r#"milestone="end_of_utterance""#, "From end of speech to a milestone of the turn.";
        FinalTranscript => "voxlane_turn_seconds", r#"milestone="final_transcript""#, "From end of speech to a milestone of the turn.";
        FirstToken => "voxlane_turn_seconds", r#"milestone="first_token""#, "From end of speech to a milestone of the turn.";
        FirstSentence => "voxlane_turn_seconds", r#"milestone="first_sentence""#, "From end of speech to a milestone of the turn.";
        FirstAudioReady => "voxlane_turn_seconds", r#"milestone="first_audio_ready""#, "From end of speech to a milestone of the turn.";
        FirstAudio => "voxlane_turn_seconds", r#"milestone="first_audio""#, "From end of speech to a milestone of the turn.";
        ReplyEnd => "voxlane_turn_seconds", r#"milestone="reply_end""#, "From end of speech to a milestone of the turn.";
        Added => "voxlane_added_seconds", "", "From the end of the utterance, once noticed, to the first reply packet ready, without the time providers took.";
        MemoryAck => "voxlane_memory_ack_seconds", "", "From the order to write a turn down to the answer that it is on the disk, or is not.";
        // --- pools
        JobWait => "voxlane_job_wait_seconds", "", "How long a job waited for its worker.", worker;
        JobFirst => "voxlane_job_first_seconds", "", "From the start of a job to its first result: token, audio, transcript.", worker;
        JobDuration => "voxlane_job_seconds", "", "From the start of a job to its end.", worker;
    }
}

/// Calls of a thread by kind, in the order of the exposition.
pub const CALLS: [Counter; 8] = [
    Counter::CallsWait,
    Counter::CallsRead,
    Counter::CallsWrite,
    Counter::CallsAccept,
    Counter::CallsTimer,
    Counter::CallsWake,
    Counter::CallsRegister,
    Counter::CallsSocket,
];

impl Counter {
    /// Whether it counts microseconds and is shown in seconds.
    pub fn is_time(self) -> bool {
        self.name().ends_with("_seconds_total")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// Name, labels, help of every line, and what kind it is.
    fn lines() -> Vec<(&'static str, &'static str, &'static str, &'static str)> {
        let counters = Counter::ALL.iter().map(|m| (m.name(), m.labels(), m.help(), "counter"));
        let gauges = Gauge::ALL.iter().map(|m| (m.name(), m.labels(), m.help(), "gauge"));
        let series = Series::ALL.iter().map(|m| (m.name(), m.labels(), m.help(), "histogram"));
        counters.chain(gauges).chain(series).collect()
    }

    /// `name="value",…`, values without anything that would need an escape.
    fn label_names(labels: &str) -> Option<Vec<&str>> {
        let pairs = labels.split(',').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let (name, value) = pair.split_once('=')?;
                let value = value.strip_prefix('"')?.strip_suffix('"')?;
                let plain = value.chars().all(|c| c.is_ascii_alphanumeric() || "_-. ".contains(c));
                (plain && is_name(name) && !["shard", "pool", "le"].contains(&name)).then_some(name)
            })
            .collect()
    }

    fn is_name(name: &str) -> bool {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    }

    #[test]
    fn names_are_what_prometheus_expects() {
        for (name, labels, help, kind) in lines() {
            assert!(name.starts_with("voxlane_") && is_name(name), "{name}");
            assert!(label_names(labels).is_some(), "{name}: labels {labels}");
            assert!(help.ends_with('.') && !help.contains(['\\', '\n', '"']), "{name}: {help}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
            assert!(kind != "histogram" || name.ends_with("_seconds"), "{name}");
        }
    }

    #[test]
    fn one_name_is_one_thing() {
        let mut first = HashMap::new();
        for (name, labels, help, kind) in lines() {
            let known = first.entry(name).or_insert((help, kind, label_names(labels)));
            assert_eq!(*known, (help, kind, label_names(labels)), "{name}");
        }
    }

    #[test]
    fn no_line_stands_twice() {
        let mut seen = std::collections::HashSet::new();
        lines().into_iter().for_each(|(name, labels, ..)| assert!(seen.insert((name, labels)), "{name}{{{labels}}}"));
    }
}
