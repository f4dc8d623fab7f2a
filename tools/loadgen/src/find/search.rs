//! The search for the greatest load that is still good, pure: it says what to try, is told what came of it, and knows when it
//! has found the answer.
//!
//! ```text
//!   good                 good        good  bad            bad
//!   |--------------------|-----------|--|--|--------------|------>  conversations
//!   first                guessed     closing in           guessed
//! ```
//!
//! As long as nothing has been bad it climbs. How far it dares to go it reads off the busiest resource: at a quarter of its
//! core a server may carry four times as much, at nine tenths hardly more. Then it closes in between good and bad. A load that
//! the load tool itself cannot drive is neither; the answer is then only a lower bound.
//!
//! A try of ten seconds can be unlucky, and a server that changes its ways as load rises may be at its worst where it changes.
//! So a load that broke its promise *narrowly* is tried once more, and counts as bad only if that fails, too. Where the server had
//! much of its core to spare although it failed twice, more is tried before less: a failure does not stand below a success. All of
//! that takes from the same number of tries. What gives way is the precision of the answer, never its time.

/// What a try showed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Grade {
    /// The promise was kept; the share of its core that the busiest part of the server used, if known.
    Good {
        /// 0 to 1.
        load: Option<f64>,
    },
    /// The promise was broken by so little that it may have been a disturbance.
    Narrow {
        /// As of a good one.
        load: Option<f64>,
    },
    /// The promise was broken.
    Bad,
    /// The load tool reached its own limit, so that nothing was learned about the server.
    Unmeasured,
}

/// The bounds of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// The first try.
    pub first: u32,
    /// Nothing above is tried.
    pub most: u32,
    /// The answer's relative uncertainty at which the search is over, as in 0.05.
    pub precision: f64,
    /// Tries at most, those that repeat one included.
    pub tries: u32,
}

impl Default for Rules {
    fn default() -> Rules {
        // Nine tries of at most 19 s keep within three minutes.
        Rules { first: 40, most: 20_000, precision: 0.06, tries: 9 }
    }
}

/// A search under way.
#[derive(Clone, Debug)]
pub struct Search {
    rules: Rules,
    tries: u32,
    good: Option<u32>,
    /// What the greatest good load left free.
    load: Option<f64>,
    /// Loads that were bad, none of them below the good one.
    bad: Vec<u32>,
    /// It failed narrowly, once: to be tried again.
    doubt: Option<u32>,
    /// To be tried next, above a load that failed twice with much to spare.
    beyond: Option<u32>,
    /// Nothing good was found beyond such a load: there is no second attempt.
    is_in_vain: bool,
    /// The least load that could not be measured.
    wall: Option<u32>,
}

/// What a search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The greatest load that was good; `None` when none was.
    pub good: Option<u32>,
    /// The least load above it that was bad; `None` when none was.
    pub bad: Option<u32>,
    /// The load tool was the limit: the server may carry more.
    pub is_lower_bound: bool,
}

/// The share of a core up to which the first guesses go: beyond it queues grow quickly.
const AIM: f64 = 0.88;
/// Never further than this in one step: figures of a small load are rough.
const LEAP_MAX: f64 = 6.0;
/// Never less, so that the climb ends.
const LEAP_MIN: f64 = 1.25;
/// A server that used no more of its core when it failed narrowly did not fail for want of it.
const SPARE: f64 = 0.65;
/// How full its core may be a step beyond such a failure: surely not too full.
const AIM_BEYOND: f64 = 0.75;

impl Search {
    /// A search by these rules.
    pub fn new(rules: Rules) -> Search {
        Search {
            rules,
            tries: 0,
            good: None,
            load: None,
            bad: Vec::new(),
            doubt: None,
            beyond: None,
            is_in_vain: false,
            wall: None,
        }
    }

    /// What to try next; `None` when the answer is known or the tries are used up.
    pub fn next(&self) -> Option<u32> {
        if self.tries >= self.rules.tries {
            return None;
        }
        match (self.doubt.or(self.beyond), self.good, self.ceiling()) {
            (Some(n), ..) => Some(n),
            (None, None, None) => Some(self.rules.first.clamp(1, self.rules.most)),
            (None, Some(good), None) => self.climb(good),
            (None, None, Some(ceiling)) => (ceiling > 1).then(|| (ceiling / 3).max(1)),
            (None, Some(good), Some(ceiling)) => self.close_in(good, ceiling),
        }
    }

    /// Takes what the try of `n` showed.
    pub fn learn(&mut self, n: u32, grade: Grade) {
        self.tries += 1;
        let is_second = self.doubt.take() == Some(n);
        match grade {
            Grade::Good { load } => self.is_good(n, load),
            Grade::Narrow { .. } if !is_second => self.doubt = Some(n),
            Grade::Narrow { load } => self.is_bad(n, load),
            Grade::Bad => self.is_bad(n, None),
            Grade::Unmeasured => {
                self.beyond = None;
                self.wall = Some(self.wall.map_or(n, |wall| wall.min(n)));
            }
        }
    }

    fn is_good(&mut self, n: u32, load: Option<f64>) {
        self.beyond = None;
        if self.good.is_none_or(|good| n > good) {
            (self.good, self.load) = (Some(n), load);
        }
        // What was bad below was a disturbance, or a place where the server changes its ways.
        self.bad.retain(|bad| *bad > n);
        self.wall = self.wall.filter(|wall| *wall > n);
    }

    /// `load` is told of a failure that was narrow.
    fn is_bad(&mut self, n: u32, load: Option<f64>) {
        self.is_in_vain |= self.beyond.take() == Some(n);
        if !self.is_in_vain {
            self.beyond = load.and_then(|load| self.over(n, load));
        }
        self.bad.push(n);
        if self.good.is_some_and(|good| n <= good) {
            (self.good, self.load) = (None, None);
        }
    }

    /// A load beyond `n`, where a core so full would not yet be too full; `None` if it is full as it is, or nothing lies between.
    fn over(&self, n: u32, load: f64) -> Option<u32> {
        if load > SPARE {
            return None;
        }
        let beyond = scaled(n, (AIM_BEYOND / load.max(0.001)).clamp(LEAP_MIN, LEAP_MAX));
        let ceiling = self.ceiling().filter(|ceiling| *ceiling > n);
        let most = ceiling.map_or(self.rules.most, |ceiling| scaled(n, (f64::from(ceiling) / f64::from(n)).sqrt()));
        Some(beyond.min(most)).filter(|beyond| f64::from(*beyond) > f64::from(n) * (1.0 + self.rules.precision))
    }

    /// What is known so far.
    pub fn found(&self) -> Found {
        let below_wall = |bad: u32| self.wall.is_none_or(|wall| bad <= wall);
        // What could not be tried again failed all the same.
        let bad = self.bad.iter().copied().chain(self.doubt).min();
        Found { good: self.good, bad, is_lower_bound: self.good.is_some() && !bad.is_some_and(below_wall) }
    }

    /// Tries made.
    pub fn tries(&self) -> u32 {
        self.tries
    }

    fn ceiling(&self) -> Option<u32> {
        self.bad.iter().copied().chain(self.wall).min()
    }

    fn climb(&self, good: u32) -> Option<u32> {
        if good >= self.rules.most {
            return None;
        }
        let leap = self.load.map_or(2.0, |load| AIM / load.max(0.001)).clamp(LEAP_MIN, LEAP_MAX);
        Some(scaled(good, leap).clamp(good + 1, self.rules.most))
    }

    fn close_in(&self, good: u32, ceiling: u32) -> Option<u32> {
        let is_close = f64::from(ceiling) <= f64::from(good) * (1.0 + self.rules.precision);
        if is_close || ceiling <= good + 1 {
            return None;
        }
        let middle = (f64::from(good) * f64::from(ceiling)).sqrt();
        // Where the good load nearly filled its core the border is near it; where it left much free, near the ceiling.
        let guess = match self.load {
            Some(load) if load > 0.05 => f64::from(good) * (AIM + 0.06) / load,
            _ => middle,
        };
        let low = f64::from(good) + f64::from(ceiling - good) * 0.3;
        let high = f64::from(good) + f64::from(ceiling - good) * 0.7;
        Some((guess.clamp(low, high).round() as u32).clamp(good + 1, ceiling - 1))
    }
}

fn scaled(n: u32, factor: f64) -> u32 {
    (f64::from(n) * factor).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server whose promise breaks above `capacity`, driven by a tool that fails above `tool`. Returns what was found and how
    /// many tries it took.
    fn check(rules: Rules, capacity: u32, tool: u32, load: impl Fn(u32) -> Option<f64>) -> (Found, u32) {
        let mut search = Search::new(rules);
        while let Some(n) = search.next() {
            assert!(n >= 1 && n <= rules.most, "{n} is out of bounds");
            let grade = match n {
                _ if n > tool => Grade::Unmeasured,
                _ if n > capacity => Grade::Bad,
                _ => Grade::Good { load: load(n) },
            };
            search.learn(n, grade);
        }
        (search.found(), search.tries())
    }

    #[test]
    fn a_monotone_server_is_found_within_the_precision() {
        let rules = Rules::default();
        for capacity in [1, 3, 17, 40, 41, 95, 333, 512, 1_499, 2_500, 7_000] {
            let load = |n| Some(f64::from(n) / f64::from(capacity) * 0.95);
            let (found, tries) = check(Rules { tries: 30, ..rules }, capacity, u32::MAX, load);
            let (good, bad) = (found.good.unwrap(), found.bad.unwrap());
            assert!(good <= capacity && capacity < bad, "{capacity}: {found:?}");
            assert!(f64::from(bad) <= f64::from(good) * 1.06 + 1.0, "{capacity}: {found:?}");
            assert!(!found.is_lower_bound);
            assert!(capacity < 10 || tries <= rules.tries, "{capacity}: {tries} tries");
        }
    }

    #[test]
    fn without_a_load_figure_it_takes_longer_and_arrives() {
        for capacity in [5, 77, 400, 2_222] {
            let (found, tries) = check(Rules { tries: 30, ..Rules::default() }, capacity, u32::MAX, |_| None);
            assert!(found.good.unwrap() <= capacity && found.bad.unwrap() > capacity);
            assert!(tries <= 14, "{capacity}: {tries} tries");
        }
    }

    #[test]
    fn a_load_figure_that_lies_leads_astray_only_for_a_while() {
        for lie in [0.01, 0.5, 3.0] {
            let load = |n: u32| Some(f64::from(n) / 600.0 * lie);
            let (found, _) = check(Rules { tries: 40, ..Rules::default() }, 600, u32::MAX, load);
            assert!(found.good.unwrap() > 550 && found.good.unwrap() <= 600, "{lie}: {found:?}");
        }
    }

    #[test]
    fn the_tools_own_limit_gives_a_lower_bound() {
        let (found, _) = check(Rules::default(), 5_000, 1_000, |n| Some(f64::from(n) / 6_000.0));
        assert!(found.is_lower_bound && found.bad.is_none());
        assert!((900..=1_000).contains(&found.good.unwrap()), "{found:?}");
        let (found, _) = check(Rules::default(), 400, 1_000, |n| Some(f64::from(n) / 1_500.0));
        assert!(!found.is_lower_bound && found.bad.unwrap() <= 1_000);
    }

    #[test]
    fn a_noisy_border_gives_an_answer_near_it() {
        let mut worst: f64 = 0.0;
        for seed in 0..200_u32 {
            let mut state = seed.wrapping_mul(2_654_435_761) | 1;
            let mut search = Search::new(Rules { tries: 20, ..Rules::default() });
            while let Some(n) = search.next() {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                let wobble = 1.0 + (f64::from(state % 1_000) / 1_000.0 - 0.5) * 0.2;
                let is_good = f64::from(n) * wobble <= 500.0;
                let load = Some(f64::from(n) / 530.0 * wobble);
                search.learn(n, if is_good { Grade::Good { load } } else { Grade::Bad });
            }
            let good = f64::from(search.found().good.unwrap());
            worst = worst.max((good / 500.0 - 1.0).abs());
        }
        assert!(worst < 0.16, "{worst}");
    }

    #[test]
    fn a_server_that_keeps_nothing_is_said_so() {
        let (found, tries) = check(Rules::default(), 0, u32::MAX, |_| None);
        assert_eq!((found.good, found.bad), (None, Some(1)));
        assert!(tries <= 6);
    }

    #[test]
    fn the_bound_on_top_is_respected() {
        let (found, _) = check(Rules { most: 100, ..Rules::default() }, 5_000, u32::MAX, |_| Some(0.1));
        assert_eq!((found.good, found.bad), (Some(100), None));
        assert!(found.is_lower_bound);
    }

    const GOOD: fn(f64) -> Grade = |load| Grade::Good { load: Some(load) };
    const NARROW: fn(f64) -> Grade = |load| Grade::Narrow { load: Some(load) };

    /// Every step of a search that starts at `first` as written: what is tried, and what comes of it.
    fn play(first: u32, tries: u32, steps: &[(u32, Grade)]) -> (Option<u32>, Option<u32>) {
        let mut search = Search::new(Rules { first, tries, ..Rules::default() });
        for (i, (n, grade)) in steps.iter().enumerate() {
            assert_eq!(search.next(), Some(*n), "step {i}");
            search.learn(*n, *grade);
        }
        assert_eq!(search.next(), None);
        (search.found().good, search.found().bad)
    }

    #[test]
    fn a_narrow_failure_is_tried_again_and_forgotten_when_that_is_good() {
        let steps = [(400, NARROW(0.8)), (400, GOOD(0.8)), (500, Grade::Bad), (470, Grade::Bad), (449, GOOD(0.9))];
        assert_eq!(play(400, 9, &steps), (Some(449), Some(470)));
    }

    #[test]
    fn what_fails_twice_is_bad_and_what_fails_clearly_is_not_tried_again() {
        let steps = [(400, NARROW(0.8)), (400, NARROW(0.8)), (133, GOOD(0.25)), (320, Grade::Bad), (264, GOOD(0.84))];
        assert_eq!(play(400, 5, &steps), (Some(264), Some(320)));
        let steps = [(400, NARROW(0.8)), (400, Grade::Bad), (133, GOOD(0.25))];
        assert_eq!(play(400, 3, &steps), (Some(133), Some(400)));
    }

    #[test]
    fn with_much_to_spare_more_is_tried_before_less() {
        let steps = [
            (400, NARROW(0.5)),
            (400, NARROW(0.5)),
            (600, GOOD(0.74)),
            (750, GOOD(0.93)),
            (938, Grade::Bad),
            (806, Grade::Bad),
            (767, GOOD(0.95)),
        ];
        assert_eq!(play(400, 9, &steps), (Some(767), Some(806)));
    }

    #[test]
    fn what_lies_beyond_in_vain_is_not_tried_a_second_time() {
        let steps = [
            (400, NARROW(0.5)),
            (400, NARROW(0.5)),
            (600, Grade::Bad),
            (133, GOOD(0.17)),
            (320, NARROW(0.4)),
            (320, NARROW(0.4)),
            (264, GOOD(0.33)),
        ];
        assert_eq!(play(400, 7, &steps), (Some(264), Some(320)));
    }

    #[test]
    fn what_cannot_be_tried_again_has_failed() {
        assert_eq!(play(40, 2, &[(40, GOOD(0.5)), (70, NARROW(0.8))]), (Some(40), Some(70)));
    }

    #[test]
    fn a_dip_on_the_way_does_not_hide_what_lies_beyond_wherever_the_search_starts() {
        // Good up to 1,000 and full there, but for a dip.
        for dip in [50..60, 120..150, 300..330, 380..450] {
            for first in (5..1_400).step_by(3) {
                let mut search = Search::new(Rules { first, ..Rules::default() });
                while let Some(n) = search.next() {
                    let load = f64::from(n) / 1_050.0;
                    search.learn(
                        n,
                        match n {
                            _ if dip.contains(&n) => NARROW(load),
                            0..=1_000 => GOOD(load),
                            _ => Grade::Bad,
                        },
                    );
                }
                let found = search.found();
                assert!(found.good.is_some_and(|n| (850..=1_000).contains(&n)), "{dip:?} from {first}: {found:?}");
                assert!(found.bad.is_none_or(|bad| bad > 1_000), "{dip:?} from {first}: {found:?}");
            }
        }
    }

    #[test]
    fn bad_below_good_throws_the_good_away() {
        let mut search = Search::new(Rules::default());
        search.learn(100, Grade::Good { load: Some(0.5) });
        search.learn(90, Grade::Bad);
        assert_eq!(search.found().good, None);
        assert_eq!(search.next(), Some(30));
    }
}
