//! Everything that is counted: one line each, with its name, labels and meaning. The seed's stages (input, preprocess,
//! detection, queue, processing, result) are the label `stage`.

macro_rules! catalog {
    ($(#[$doc:meta])* $kind:ident { $($variant:ident => $name:literal, $labels:literal, $help:literal;)* }) => {
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
        // --- stage: processing
        JobsSubmitted => "voxlane_items_total", r#"stage="processing",item="job""#, "Items that entered a stage.";
        // --- stage: result
        OutcomesIn => "voxlane_items_total", r#"stage="result",item="outcome""#, "Items that entered a stage.";
        PacketsOut => "voxlane_packets_sent_total", "", "Reply packets handed to the socket.";
        // --- turns
        TurnsStarted => "voxlane_turns_total", r#"event="started""#, "Turns by what became of them.";
        TurnsComplete => "voxlane_turns_total", r#"event="complete""#, "Turns by what became of them.";
        TurnsAborted => "voxlane_turns_total", r#"event="aborted""#, "Turns by what became of them.";
        TurnsFailed => "voxlane_turns_total", r#"event="failed""#, "Turns by what became of them.";
        TurnsEmpty => "voxlane_turns_total", r#"event="empty""#, "Turns by what became of them.";
        BargeIns => "voxlane_barge_ins_total", "", "Replies cut short by the user's voice.";
    }
}

catalog! {
    /// Things that go up and down.
    Gauge {
        Connections => "voxlane_connections", "", "Open connections.";
        Sessions => "voxlane_sessions", "", "Sessions between hello and close.";
        Listening => "voxlane_sessions_listening", "", "Sessions that hold a decoder.";
        Speaking => "voxlane_sessions_speaking", "", "Sessions whose reply is being played.";
    }
}

catalog! {
    /// Durations, kept as histograms and as the last 1000 values.
    Series {
        LoopDuration => "voxlane_loop_seconds", r#"part="duration""#, "One pass of a shard's loop, outside the reactor.";
        LoopLateness => "voxlane_loop_seconds", r#"part="lateness""#, "How late a shard woke after the deadline it had asked for.";
        FrameLateness => "voxlane_frame_lateness_seconds", "", "How late a reply packet was written after its scheduled instant.";
    }
}
