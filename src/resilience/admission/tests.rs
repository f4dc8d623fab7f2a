use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn untaken(ms: u64) -> Signals {
    Signals { untaken: Duration::from_millis(ms), turns: 100, ..Signals::default() }
}

/// An admission and its clock: a look every 100 ms.
struct Desk {
    admission: Admission,
    now: Instant,
}

impl Desk {
    fn new() -> Desk {
        Desk { admission: Admission::new(Instant::ZERO), now: Instant::ZERO }
    }

    fn see(&mut self, looks: u32, signals: Signals) -> Level {
        for _ in 0..looks {
            self.now += LOOK;
            self.admission.observe(self.now, signals);
        }
        self.admission.level()
    }
}

#[test]
fn each_signal_is_a_hundred_where_users_suffer() {
    let none = Signals::default();
    for (signals, score) in [
        (none, 0),
        (Signals { busy_percent: 90, ..none }, 0),
        (Signals { busy_percent: 97, ..none }, 70),
        (Signals { busy_percent: 250, ..none }, 100),
        (Signals { late: ms(5), ..none }, 20),
        (Signals { late: ms(25), ..none }, 100),
        (Signals { untaken: ms(30), ..none }, 10),
        (Signals { untaken: ms(300), ..none }, 100),
        (Signals { waiting: ms(300), ..none }, 15),
        (Signals { waiting: ms(2_000), ..none }, 100),
        (Signals { late: ms(5), untaken: ms(210), busy_percent: 95, ..none }, 70),
        (Signals { untaken: Duration::from_secs(1 << 40), ..none }, 1_000),
    ] {
        assert_eq!(signals.score(), score, "{signals:?}");
    }
}

#[test]
fn a_burst_is_no_load() {
    let mut desk = Desk::new();
    for _ in 0..20 {
        assert_eq!(desk.see(4, untaken(900)), Level::Ease);
        assert_eq!(desk.see(1, untaken(5)), Level::Ease);
    }
    assert!(desk.admission.admits_turn(1_000_000) && desk.admission.admits_device(1_000_000));
}

#[test]
fn things_are_given_up_in_order_and_taken_up_again_step_by_step() {
    let mut desk = Desk::new();
    assert_eq!(desk.see(5, untaken(209)), Level::Ease);
    assert_eq!(desk.see(5, untaken(210)), Level::NoExtras);
    assert!(desk.admission.admits_device(100));
    assert_eq!(desk.see(5, untaken(255)), Level::NoNewcomers);
    assert!(!desk.admission.admits_device(0) && desk.admission.admits_turn(100));
    assert_eq!(desk.see(5, untaken(300)), Level::NoTurns);
    assert!(!desk.admission.admits_turn(100));
    assert_eq!(desk.see(49, untaken(300)), Level::NoTurns);
    assert_eq!(desk.see(1, untaken(300)), Level::NoIdlers);
    // The calmest of five looks is calm at once; the steps down take a second each.
    let levels: Vec<Level> = (0..5).map(|_| desk.see(10, untaken(0))).collect();
    assert_eq!(levels, [Level::NoTurns, Level::NoNewcomers, Level::NoExtras, Level::Ease, Level::Ease]);
}

#[test]
fn a_step_is_left_well_below_where_it_was_taken() {
    let mut desk = Desk::new();
    desk.see(5, untaken(255));
    assert_eq!(desk.see(50, untaken(211)), Level::NoNewcomers, "70 is not 15 below 85");
    assert_eq!(desk.see(11, untaken(200)), Level::NoExtras);
    assert_eq!(desk.see(50, untaken(180)), Level::NoExtras, "60 is not 15 below 70");
    assert_eq!(desk.see(11, untaken(160)), Level::Ease);
}

#[test]
fn memory_counts_at_once_and_a_look_after_a_long_sleep_begins_anew() {
    let mut desk = Desk::new();
    assert_eq!(desk.see(1, Signals { memory_percent: 85, ..Signals::default() }), Level::NoNewcomers);
    let mut desk = Desk::new();
    desk.see(4, untaken(300));
    desk.now += ms(2_000);
    assert_eq!(desk.see(1, untaken(300)), Level::Ease);
}

/// A server that can do `able` turns at once: more, and its workers starve. Turns of 8 s; `wanted` begin each second. The share
/// of what it can do that gets done in time, over the last minute of three.
fn goodput(able: u32, wanted: u32) -> f64 {
    let mut desk = Desk::new();
    // Ends of the turns under way, in looks.
    let mut turns: std::collections::VecDeque<u32> = Default::default();
    let (mut starving, mut good, mut begun) = (0u64, 0u64, 0.0);
    for look in 0..1_800u32 {
        while turns.front().is_some_and(|end| *end <= look) {
            turns.pop_front();
        }
        begun += f64::from(wanted) / 10.0;
        while begun >= 1.0 {
            begun -= 1.0;
            if desk.admission.admits_turn(turns.len() as u32) {
                turns.push_back(look + 80);
            }
        }
        let under_way = turns.len() as u32;
        // The queue grows by what cannot be done and shrinks by what is left over.
        let surplus = i64::from(under_way) - i64::from(able);
        starving = starving.saturating_add_signed(surplus * 100 / i64::from(able)).min(5_000);
        desk.see(1, Signals { untaken: ms(starving), turns: under_way, ..Signals::default() });
        if look >= 1_200 && starving < 1_000 {
            good += u64::from(under_way.min(able));
        }
    }
    good as f64 / (600.0 * f64::from(able))
}

#[test]
fn three_times_too_much_is_done_as_well_as_what_can_be_done() {
    let all: Vec<(u32, f64)> = [40, 300, 2_000].map(|able| (able, goodput(able, 3 * able / 8))).into();
    assert!(all.iter().all(|(_, share)| *share >= 0.95), "shares of what so many at once could be: {all:?}");
}

#[test]
fn a_limit_is_not_needed_where_everything_can_be_done() {
    let mut desk = Desk::new();
    desk.see(600, Signals { untaken: ms(60), busy_percent: 88, late: ms(3), turns: 800, ..Signals::default() });
    assert_eq!((desk.admission.turns_max(), desk.admission.level()), (None, Level::Ease));
}

#[test]
fn a_limit_that_nobody_needs_is_forgotten() {
    let mut desk = Desk::new();
    desk.see(5, untaken(400));
    assert_eq!(desk.admission.turns_max(), Some(90));
    desk.see(90, Signals { turns: 20, ..Signals::default() });
    assert_eq!(desk.admission.turns_max(), Some(90), "it grows only by what is used");
    desk.see(20, Signals { turns: 20, ..Signals::default() });
    assert_eq!(desk.admission.turns_max(), None);
}

#[test]
fn those_refused_do_not_come_back_together() {
    let mut desk = Desk::new();
    let spread = |admission: &Admission| {
        let dice = (0..1_000u64).map(|i| i << 54 | 0x3ff);
        let waits: std::collections::BTreeSet<u64> = dice.map(|dice| admission.stay_away(dice).as_secs()).collect();
        (waits.first().copied(), waits.last().copied(), waits.len())
    };
    assert_eq!(spread(&desk.admission), (Some(3), Some(15), 13));
    desk.see(5, untaken(400));
    assert_eq!(spread(&desk.admission), (Some(10), Some(40), 31));
}

#[test]
fn the_board_shows_the_worst_shard() {
    let board = Board::new(3);
    assert_eq!((board.level(), board.memory_percent()), (Level::Ease, 0));
    board.tell(2, Level::NoTurns);
    board.tell(0, Level::NoExtras);
    board.tell(9, Level::NoIdlers);
    board.tell_memory(42);
    assert_eq!((board.level(), board.memory_percent()), (Level::NoTurns, 42));
}
