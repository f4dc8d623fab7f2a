//! Every bound of the server, each with its reason. A queue, buffer, wait or retry that is not bounded here is a defect.

use crate::time::Duration;

// --- Wire ---------------------------------------------------------------------------------------------------------------

/// Request head before the upgrade. Devices send under 500 bytes; browsers with cookies a few KiB. Beyond: 431.
pub const HEAD_BYTES: usize = 8 * 1024;
/// Header lines in a request head. Beyond: 431.
pub const HEAD_LINES: usize = 64;
/// Body of an HTTP request (OTA check-in: a device sends about 1.5 KiB).
pub const BODY_BYTES: usize = 16 * 1024;
/// A WebSocket frame or reassembled message: devices never send more than 65,535 bytes (NET `web_socket.cc`). Beyond: 1009.
pub const MESSAGE_BYTES: usize = 64 * 1024;
/// Fragments of one message; a device sends none. Beyond: 1009.
pub const MESSAGE_FRAGMENTS: u32 = 1_024;
/// Depth of JSON nesting (decision 16).
pub const JSON_DEPTH: usize = 16;
/// A binary audio payload: WEB's encoder buffer is 4,000 bytes, PCM at 48 kHz 60 ms is 5,760. Beyond: dropped, counted.
pub const PACKET_BYTES: usize = 8 * 1024;
/// Text a user may type in one message, bytes; the rest is cut at a character.
pub const TYPED_TEXT_BYTES: usize = 4 * 1024;
/// A Device-Id or Client-Id: a MAC has 17, a UUID 36, a gateway's compound id about 90.
pub const ID_BYTES: usize = 128;
/// A host name in a request (RFC 1035 allows 253).
pub const HOST_BYTES: usize = 253;
/// OTA answer: the firmware's HTTP client stalls on more than 8 KiB, so we stay below 6 (NET `http_client.cc`).
pub const OTA_ANSWER_BYTES: usize = 6 * 1024;

// --- Connection ---------------------------------------------------------------------------------------------------------

/// From accept to the end of the upgrade; also for the whole of an HTTP request.
pub const HANDSHAKE: Duration = Duration::from_secs(5);
/// From the upgrade to the device's hello (decision 16).
pub const HELLO: Duration = Duration::from_secs(5);
/// Silence in both directions after which we ping (decision 10).
pub const PING_EVERY: Duration = Duration::from_secs(22);
/// A peer silent for this long is gone (decision 10).
pub const SILENT_PEER: Duration = Duration::from_secs(45);
/// Longest time without a text or binary frame to an open device; FW takes the channel for dead after 120 s.
pub const KEEPALIVE_TEXT: Duration = Duration::from_secs(45);
/// One connection's send queue, bytes: above it the oldest audio is dropped.
pub const SEND_QUEUE_BYTES: usize = 64 * 1024;
/// One connection's send queue, frames: a device holds 40 packets itself (FW `audio_service.h`).
pub const SEND_QUEUE_FRAMES: usize = 40;
/// How long a socket may stay unwritable before the connection is closed with 1013.
pub const UNWRITABLE: Duration = Duration::from_secs(5);
/// Kernel send buffer: audio in the kernel cannot be taken back on barge-in; 8 KiB holds about 33 packets.
pub const SOCKET_SEND_BYTES: usize = 8 * 1024;
/// Consecutive undecodable packets after which the session is closed with 1003.
pub const BAD_PACKETS: u32 = 100;
/// Life of a device token: a device gets a new one only when it boots (decision 9).
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long past its life a genuine token is still taken: uptimes over a month exist.
pub const TOKEN_GRACE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long we wait for a closing peer to take our close frame before the socket is dropped.
pub const CLOSE_LINGER: Duration = Duration::from_millis(500);
/// Pings a peer may send in a second (fault matrix row 30). Beyond: 1008.
pub const PINGS_PER_SECOND: u8 = 10;
/// Audio a device may send in one burst, ms: a wake word's two seconds and what a stalled radio held back; more is dropped.
pub const UPLINK_BURST_MS: u32 = 5_000;
/// How many times real time a device may send in the long run (fault matrix row 32).
pub const UPLINK_SPEED: u32 = 3;

// --- Shard --------------------------------------------------------------------------------------------------------------

/// Reply packets that a worker lays out before it wakes the shard again: few enough that encoding them takes less than a frame
/// (4 x 0.6 ms at complexity 10), as many as services send at a time.
pub const PIECES_UNTOLD: u32 = 4;
/// The read buffer of a shard, bytes: the largest message, so that it is seldom cut.
pub const READ_BYTES: usize = 64 * 1024;
/// Messages and packets of all connections of a shard that were read and are not handled yet: two wake words' bursts of a
/// hundred devices. Beyond, sockets are left unread, and TCP slows the devices down.
pub const BACKLOG_ITEMS: usize = 8_192;
/// Bytes of those packets.
pub const BACKLOG_BYTES: usize = 2 * 1024 * 1024;
/// How long one pass works on read packets before it looks at the rest of the world again.
pub const PASS_SLICE: Duration = Duration::from_millis(4);
/// A pass of a shard's loop beyond this is counted and, now and then, told of: a third of a frame, five times a full slice.
pub const LONG_PASS: Duration = Duration::from_millis(20);
/// A pass that is still going on after this long is told of by somebody else: it may never end.
pub const STUCK_PASS: Duration = Duration::from_secs(1);
/// Connections a shard accepts in one pass: 64 at about 10 µs each stay below a millisecond.
pub const ACCEPTS_PER_PASS: usize = 64;
/// Connections a shard reads from in one pass.
pub const READS_PER_PASS: usize = 256;
/// Answers of workers a shard takes in one pass and stage.
pub const ANSWERS_PER_PASS: usize = 256;
/// Jobs a shard hands to its pools in one pass.
pub const JOBS_PER_PASS: usize = 1_024;
/// How long audio that found its lane full waits before it is offered again; half a ring is 7 s of speech.
pub const POUR_AGAIN: Duration = Duration::from_millis(20);
/// Shards of a process: the most that the configuration takes.
pub const SHARDS: usize = 256;
/// Connections beyond those allowed that are kept just long enough to be told to come back later; beyond them, the socket is
/// closed without a word.
pub const CONNECTIONS_BEYOND: usize = 64;
/// Places in which a shard under too much load looks for idle connections, ten times a second: 20,000 within 16 s, and a burst
/// of closes that takes less than 2 ms.
pub const IDLERS_PER_LOOK: usize = 128;
/// How long a shard whose door another process has taken over still lets those in that it had accepted: a handshake takes
/// milliseconds, over a bad radio some hundred.
pub const NEWCOMERS: Duration = Duration::from_secs(1);
/// Letters in a shard's mailbox: one for each connection that another shard upgrades or hands over within a pass. Beyond, a
/// connection stays where it is; a replaced device's old one is then found dead by its silence.
pub const MAILBOX: usize = 4_096;
/// How many more connections than the emptiest shard one may have before it hands new ones over: below this the difference
/// costs less than the hand-over.
pub const IMBALANCE: usize = 16;

// --- Audio in -----------------------------------------------------------------------------------------------------------

/// Samples in a [`crate::audio::block::AudioBlock`]: 60 ms at 16 kHz, one packet of a device.
pub const PCM_BLOCK_SAMPLES: usize = 960;
/// Blocks in one session's audio queue (seed: 1000 items).
pub const AUDIO_QUEUE_ITEMS: usize = 1_000;
/// Bytes in one session's audio queue (seed: 5 MB; on overflow the newest half is kept).
pub const AUDIO_QUEUE_BYTES: usize = 5 * 1024 * 1024;
/// Bytes in all audio queues of the process.
pub const AUDIO_BUDGET_BYTES: usize = 512 * 1024 * 1024;
/// Longest utterance, in auto, realtime and manual mode (decision 16).
pub const UTTERANCE: Duration = Duration::from_secs(30);
/// Blocks in the ring from a shard to a recogniser: 256 blocks are 15 s of one voice, 0.5 MB.
pub const PCM_RING: usize = 256;

// --- Jobs and outcomes --------------------------------------------------------------------------------------------------

/// Bytes of reply audio in one [`crate::job::PacketBlock`]: a 60 ms Opus packet at 32 kbit/s has 240.
pub const PACKET_BLOCK_BYTES: usize = 480;
/// Bytes of text in one [`crate::job::TextBlock`].
pub const TEXT_BLOCK_BYTES: usize = 480;
/// Outcomes in the ring from a worker to a shard: 64 packets are 3.8 s; a worker that runs ahead waits.
pub const OUTCOME_RING: usize = 64;
/// Jobs waiting for a worker, per shard and stage. Beyond: the turn gets the busy apology.
pub const WAITING_JOBS: usize = 256;
/// A queue that was shut because it kept overflowing opens when so few wait.
pub const WAITING_JOBS_LOW: usize = WAITING_JOBS / 2;
/// Jobs turned away for so long, with no pause longer than [`OVERFLOW_PAUSE`], are no burst: bursts are of connections that were
/// cut together, and are over within a second.
pub const OVERFLOW_LASTS: Duration = Duration::from_secs(1);
/// See [`OVERFLOW_LASTS`].
pub const OVERFLOW_PAUSE: Duration = Duration::from_millis(250);
/// Threads of a network pool (decision 7).
pub const POOL_THREADS: usize = 1_024;
/// Stack of a pool thread (decision 7).
pub const POOL_STACK_BYTES: usize = 128 * 1024;
/// Blocks in the ring to a recogniser that holds one utterance at a time: 3.8 s; the rest waits in the session's queue.
pub const PCM_RING_SINGLE: usize = 64;
/// Utterances one local recogniser gathers at a time: at 28 talking devices per core (`speech-model.md`) with room for bursts.
pub const GATHERED_UTTERANCES: u32 = 64;
/// Waiting this long lifts a job one class: well under a turn's budget, so that nothing starves unheard.
pub const AGEING: Duration = Duration::from_secs(1);
/// Answers taken from one lane before the next lane has its turn: a second of one reply.
pub const LANE_BUDGET: usize = 16;
/// A worker that waits for room in its ring is woken by the shard; it looks up this often besides, for a cancel whose shard
/// has nothing to drain.
pub const PUBLISH_RECHECK: Duration = Duration::from_millis(50);
/// A worker that dies again within this time of another's death is replaced only after it.
pub const RESPAWN_PAUSE: Duration = Duration::from_millis(100);
/// After a thread could not be started (the system's limit), growth pauses this long.
pub const SPAWN_RETRY: Duration = Duration::from_secs(1);
/// A worker above the pool's minimum that had no job for this long ends.
pub const WORKER_IDLE: Duration = Duration::from_secs(60);
/// At the end of the process: how long running jobs may take before their threads are left behind.
pub const WORKERS_END: Duration = Duration::from_secs(2);
/// Stack of a thread that runs a model on our own cores: what the system gives by default, stated.
pub const MODEL_STACK_BYTES: usize = 8 * 1024 * 1024;
/// Blocks a recogniser reads at a time (decision 8): 600 ms of one voice.
pub const BLOCK_BATCH: usize = 10;
/// How long a recogniser waits for a first block before it looks after its open utterances (seed 2.6).
pub const BLOCK_WAIT: Duration = Duration::from_secs(1);
/// Synthesis of one of our own phrases at start; one that takes longer stays text.
pub const PHRASE: Duration = Duration::from_secs(20);
/// A phrase that could not be spoken is tried again after this long, and then ever later: a service that is started together
/// with us needs a moment.
pub const PHRASE_AGAIN: Duration = Duration::from_secs(1);
/// The longest pause between two tries: eight refused calls in a minute disturb nobody.
pub const PHRASE_AGAIN_MOST: Duration = Duration::from_secs(60);
/// Packets of one sentence that is kept to be said again: a minute of Opus at 32 kbit/s, 5 s of PCM. A longer one is hardly said
/// twice, and would push a dozen others out.
pub const SPEECH_KEPT_BYTES: usize = 256 * 1024;
/// The most that `[tts] cache_mb` may be: half a million sentences; beyond, it is memory for nothing.
pub const SPEECH_KEPT_MB_MOST: u64 = 4_096;
/// Utterances of one local recogniser that are with those behind it at once: a thread each, and a service that takes a second
/// answers as many people as 28 talking devices per core ever are at once.
pub const ELSEWHERE: usize = 32;
/// Attempts of one job at all its providers, the first included: no more fit into a turn's budget, each with half the time.
pub const CALL_TRIES: u32 = 4;
/// Places for cancel hooks in a job: one for each of [`CALL_TRIES`], for a pause between two, for the offline responder and for
/// a hedge.
pub const CALL_ATTEMPTS: usize = CALL_TRIES as usize + 3;
/// Bytes of one transcript.
pub const TRANSCRIPT_BYTES: usize = 4 * 1024;

// --- Turn ---------------------------------------------------------------------------------------------------------------

/// From the end of the utterance to first audio (decision 16).
pub const TURN: Duration = Duration::from_secs(12);
/// Recognition by a service; local Whisper gets [`ASR_LOCAL`].
pub const ASR: Duration = Duration::from_secs(4);
/// Recognition on our own cores, where several utterances may wait for each other.
pub const ASR_LOCAL: Duration = Duration::from_secs(8);
/// What a recogniser keeps of its time for its answer to reach the session, which gives up by itself and would then apologise
/// for what was no failure but a queue.
pub const ANSWER_MARGIN: Duration = Duration::from_millis(100);
/// From the question to the model's first token.
pub const LLM_FIRST_TOKEN: Duration = Duration::from_secs(5);
/// Between two tokens (fault matrix row 13).
pub const LLM_NEXT_TOKEN: Duration = Duration::from_secs(3);
/// The model's whole answer (decision 16).
pub const LLM_TOTAL: Duration = Duration::from_secs(60);
/// From a sentence to its first byte of audio.
pub const TTS_FIRST_BYTE: Duration = Duration::from_secs(3);
/// Text of one reply, bytes: about 15 minutes of speech is nobody's answer.
pub const REPLY_BYTES: usize = 16 * 1024;
/// Text of a reply that waits for synthesis, bytes; beyond, the model waits in its lane. Half a reply: a model that is done
/// early frees its worker.
pub const REPLY_WAITING_BYTES: usize = 8 * 1024;
/// Sentences of a reply between splitting and playing; the rest waits as text.
pub const REPLY_SENTENCES: usize = 8;
/// Audio of one sentence that waits to be played, bytes: over a minute of Opus, 5 s of PCM; beyond, synthesis waits in its lane.
pub const REPLY_AUDIO_BYTES: usize = 256 * 1024;
/// An open utterance without any audio for this long is over; an ear that hears no packets for this long is given back.
pub const STALL: Duration = Duration::from_secs(2);
/// Text of one sentence given to synthesis, bytes.
pub const SENTENCE_BYTES: usize = 900;
/// Audio of one sentence; a synthesiser that goes on is cut off.
pub const SENTENCE_AUDIO: Duration = Duration::from_secs(60);
/// Sentences synthesised ahead of the one being played.
pub const SENTENCES_AHEAD: usize = 2;
/// Turns in the dialogue's window.
pub const DIALOGUE_TURNS: usize = 20;
/// Estimated tokens in the dialogue's window.
pub const DIALOGUE_TOKENS: usize = 3_000;
/// What is kept of older turns: about 300 tokens, a tenth of the window.
pub const SUMMARY_BYTES: usize = 1_200;
/// What one older turn leaves in the summary: a spoken question is shorter.
pub const SUMMARY_LINE_BYTES: usize = 120;
/// Frames we may be ahead of the playhead whatever the configuration says (device queue: 40 packets).
pub const LEAD_FRAMES: u32 = 6;

// --- Control plane ------------------------------------------------------------------------------------------------------

/// Lines that wait for the log's writer; beyond, lines are lost and counted. At 200 bytes a line 0.8 MB, at most 32 MB.
pub const LOG_LINES: usize = 4_096;
/// Bytes of one log line; the rest is cut off. A transcript has at most half of this.
pub const LOG_LINE_BYTES: usize = 8 * 1024;
/// A log file that cannot be opened is tried again after this long; lines are lost and counted meanwhile.
pub const LOG_REOPEN: Duration = Duration::from_secs(1);
/// Connections of one control-plane listener that may be open at once; beyond: 503. Devices check in once a boot, for a few ms.
pub const ADMIN_CONNECTIONS: usize = 256;
/// Whole requests that wait for a thread of the control plane; beyond: 503.
pub const ADMIN_QUEUE: usize = 64;
/// Alert rules; each is looked at once a second.
pub const ALERT_RULES: usize = 64;
/// Bytes of a rule's text: a notice of it fits into what a command is given.
pub const ALERT_RULE_BYTES: usize = 300;
/// Notices that wait for webhook and command; beyond, they are held back and counted. The log has them all the same.
pub const ALERTS_WAITING: usize = 64;
/// How long a webhook or a command may take for one notice.
pub const ALERT: Duration = Duration::from_secs(10);
/// Threads that answer requests of one control-plane listener.
pub const ADMIN_THREADS: usize = 4;
/// How long, and how many bytes, we go on reading from a peer whose request was refused half-read, so that it sees the answer
/// before the connection is reset.
pub const ADMIN_LINGER: Duration = Duration::from_secs(1);
/// See [`ADMIN_LINGER`].
pub const ADMIN_LINGER_BYTES: usize = 64 * 1024;
/// Finished turns of which each shard keeps the timeline, 48 KB; the oldest make room. Two seconds of a shard with 2,500
/// conversations, minutes of an ordinary one.
pub const TURNS_KEPT: usize = 512;
/// Turns of the last minute of which percentiles are made: 0.1 MB.
pub const TURNS_WEIGHED: usize = 4_096;
/// Seconds that the live page looks back: five minutes.
pub const LIVE_SECONDS: usize = 300;
/// Watchers of the live page at once; beyond: 503. One for each of a few screens and phones.
pub const LIVE_WATCHERS: usize = 8;
/// Kernel send buffer of a watcher: the past fits at once, and a watcher that reads nothing is known within seconds.
pub const LIVE_SEND_BYTES: usize = 128 * 1024;
/// How long a watcher may take for one event; beyond, it is let go.
pub const LIVE_PATIENCE: Duration = Duration::from_secs(5);
/// Turns an operator is shown.
pub const TURNS_SHOWN: usize = 50;

// --- Services -----------------------------------------------------------------------------------------------------------

/// From the first SYN to an open connection of a service (fault matrix row 12).
pub const SERVICE_CONNECT: Duration = Duration::from_secs(1);
/// The same with name lookup and TLS: two more round trips, and a slow resolver.
pub const SERVICE_SETUP: Duration = Duration::from_millis(2_500);
/// A name is looked up again after this long; an old answer is better than none while the resolver is down.
pub const SERVICE_NAME: Duration = Duration::from_secs(60);
/// Idle connections kept to all services; one for each busy worker of a large pool would be too many.
pub const SERVICE_IDLE: usize = 128;
/// Idle connections kept to one service: 50 workers in bursts then open 50 connections and not hundreds.
pub const SERVICE_IDLE_PER_HOST: usize = 64;
/// An idle connection older than this is not trusted: common servers close theirs between 5 and 75 s.
pub const SERVICE_IDLE_AGE: Duration = Duration::from_secs(30);
/// Read and write buffer of a connection to a service. A response head must fit.
pub const SERVICE_BUFFER_BYTES: usize = 16 * 1024;
/// A whole JSON answer of a service: a transcript with its segments is a few KiB. Beyond: Malformed.
pub const SERVICE_JSON_BYTES: usize = 2 * 1024 * 1024;
/// What is read of a refusal to learn its reason; more is left, and with it the connection.
pub const SERVICE_REFUSAL_BYTES: usize = 8 * 1024;
/// How long a refusal's reason is waited for.
pub const SERVICE_TAIL: Duration = Duration::from_millis(200);
/// How long the formal end of a finished answer is waited for, to keep its connection; the answer's last sentence waits with it.
pub const SERVICE_END: Duration = Duration::from_millis(50);
/// One line, and the data of one event, in a stream of server-sent events; a token's event has about 300 bytes.
pub const SSE_EVENT_BYTES: usize = 64 * 1024;
/// Between two pieces of a sentence's audio.
pub const TTS_NEXT_BYTE: Duration = Duration::from_secs(3);
/// Encoded audio of one sentence: [`SENTENCE_AUDIO`] as 48 kHz stereo PCM16 is 11.5 MB.
pub const SENTENCE_SOUND_BYTES: usize = 12 * 1024 * 1024;
/// The longest pause a service may ask for: after it we look again, whatever it said.
pub const RETRY_AFTER: Duration = Duration::from_secs(3_600);
/// Longest time one service is given to say at start that it is there.
pub const SERVICE_PROBE: Duration = Duration::from_secs(5);

/// Calls younger than this tell how a provider is doing.
pub const BREAKER_WINDOW: Duration = Duration::from_secs(10);
/// Fewer calls prove nothing (fault matrix row 12: it opens after 5 failures).
pub const BREAKER_VOLUME: u32 = 5;
/// Slow calls among them, per cent, that open a breaker: half of the budget gone four times in five leaves no turn in time.
pub const BREAKER_SLOW_PERCENT: u32 = 80;
/// The longest rest of a provider between two probes.
pub const BREAKER_OPEN_MOST: Duration = Duration::from_secs(60);
/// Good probes in a row that close a breaker, and the least time they take: longer than a provider that flaps every 2 s stays up
/// (fault matrix row 18).
pub const BREAKER_PROBES: u32 = 3;
/// See [`BREAKER_PROBES`].
pub const BREAKER_SETTLE: Duration = Duration::from_secs(3);
/// Repetitions of one call at one provider.
pub const RETRY_MOST: u32 = 1;
/// The longest pause before a repetition: short beside a turn's budget.
pub const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Less than this after the pause is no time for an answer, and nobody is asked again.
pub const RETRY_LEAST: Duration = Duration::from_millis(300);
/// Pieces of text that wait between a hedge's threads; beyond, the model waits.
pub const HEDGE_PIECES: usize = 64;
/// Left of a budget for the offline responder when no service has answered: it needs none, its voice does.
pub const OFFLINE_RESERVE: Duration = Duration::from_millis(500);
/// A step of the ladder stays in force so long after it was needed last.
pub const RUNG_HOLD: Duration = Duration::from_secs(10);
/// Sessions of which a stage remembers who spoke, and what they were told: as many as may be open at once, at 50 bytes.
pub const SESSIONS_KEPT: usize = 20_000;

// --- Child processes ----------------------------------------------------------------------------------------------------

/// Text given to one process of a speech program; below what a pipe holds, so that giving it never waits. 240 kB kept espeak-ng
/// busy for half a minute.
pub const CHILD_INPUT_BYTES: usize = 1_000;
/// Audio read from a child at a time.
pub const CHILD_READ_BYTES: usize = 8 * 1024;
/// The end of what a child says on its standard error, kept for the log.
pub const CHILD_COMPLAINT_BYTES: usize = 200;
/// How long a child that has closed its output may take to exit before it is killed.
pub const CHILD_EXIT: Duration = Duration::from_millis(500);

// --- Memory -------------------------------------------------------------------------------------------------------------

/// Payload of one record: a checkpoint of a full window ([`DIALOGUE_TOKENS`] of Chinese are about 9 KB; an operator may ask for
/// 100,000) is the longest. A turn is cut to it ([`REPLY_BYTES`] and [`TYPED_TEXT_BYTES`] fit); a longer checkpoint is left out.
pub const MEMORY_RECORD_BYTES: usize = 512 * 1024;
/// One file of the log: rewritten in one piece by retention and erasure, read in one piece at the start.
pub const MEMORY_SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// Turns of a device between its checkpoints: what is read, beside the checkpoint, when it comes back.
pub const MEMORY_CHECKPOINT_TURNS: usize = 32;
/// Devices that are remembered; each takes about half a KiB of memory. A further one is served, and not remembered.
pub const MEMORY_DEVICES: usize = 200_000;
/// Records that wait in memory while the disk takes none; the newest are then not written.
pub const MEMORY_PENDING: usize = 8 * 1024;
/// Their bytes.
pub const MEMORY_PENDING_BYTES: usize = 16 * 1024 * 1024;
/// Copies of damaged files that are kept; at this number a damaged file is still served from, but not rebuilt.
pub const MEMORY_QUARANTINE: usize = 64;
/// How long `voxlane memory erase` waits for the running server, which writes files of 16 MiB anew.
pub const MEMORY_ERASE: Duration = Duration::from_secs(120);
/// How long the running server waits for a word at its memory's door.
pub const MEMORY_DOOR: Duration = Duration::from_secs(2);
/// Orders of one shard to the memory's writer that may be open at once: 10,000 devices that come back within a second, while
/// the disk takes its time. Beyond: a session begins without its dialogue, a turn is not durable.
pub const MEMORY_ORDERS: usize = 4 * 1024;
/// Orders taken before what they wrote is committed; the first of them waits for the others.
pub const MEMORY_BATCH: usize = 1_024;
/// After its instant has come, `tts stop` waits so long for the disk; then it says that the turn is not durable.
pub const MEMORY_ACK: Duration = Duration::from_millis(50);
/// A disk that failed is tried again after this long: what waits is written within 5 s of its return (fault matrix row 5).
pub const MEMORY_RETRY: Duration = Duration::from_secs(1);
/// `durability = "interval"`: how long a turn may wait to be written.
pub const MEMORY_INTERVAL: Duration = Duration::from_secs(1);
/// How often records whose time is over are looked for.
pub const MEMORY_RETAIN: Duration = Duration::from_secs(3_600);
/// Orders of `voxlane memory` that wait for the writer; beyond, they are refused.
pub const MEMORY_ERASURES: usize = 8;
