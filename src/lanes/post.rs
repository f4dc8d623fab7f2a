//! Where all shards meet one thread that keeps something for all of them: a [`Post`] for each shard, one [`Office`].
//!
//! ```text
//!    shard 0  Post --orders-->  Office     each order is answered once, to the shard that sent it
//!                  <--answers--
//!    shard 1  Post ...
//! ```
//!
//! Bounded by what a shard has sent and not yet taken the answer of: an order claims a place among the answers, so the office never
//! waits for room. What does not fit is given back to the shard, at once.

use super::Doorbell;
use crate::time::Duration;
use crossbeam::sync::Parker;
use ringbuf::traits::{Consumer, Observer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

/// A shard's end.
pub struct Post<O, A> {
    orders: HeapProd<O>,
    answers: HeapCons<A>,
    /// Orders whose answers were not taken yet.
    open: usize,
    bell: Doorbell,
    is_due: bool,
}

impl<O, A> Post<O, A> {
    /// Sends an order; the office is rung by [`Post::ring`].
    ///
    /// # Errors
    /// The order: too many are open, or the office is gone.
    pub fn send(&mut self, order: O) -> Result<(), O> {
        if self.open >= self.orders.capacity().get() || !self.orders.read_is_held() {
            return Err(order);
        }
        self.orders.try_push(order)?;
        self.open += 1;
        self.is_due = true;
        Ok(())
    }

    /// The next answer.
    pub fn take(&mut self) -> Option<A> {
        let answer = self.answers.try_pop()?;
        self.open -= 1;
        Some(answer)
    }

    /// Whether an answer is there.
    pub fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Wakes the office if something was sent since. Once per pass.
    pub fn ring(&mut self) {
        if std::mem::take(&mut self.is_due) {
            self.bell.ring();
        }
    }

    /// Orders whose answers were not taken yet.
    pub fn open(&self) -> usize {
        self.open
    }
}

/// The one thread's end.
pub struct Office<O, A> {
    counters: Vec<Counter<O, A>>,
    bell: Doorbell,
    parker: Parker,
    /// Who is looked at first.
    turn: usize,
}

struct Counter<O, A> {
    orders: HeapCons<O>,
    answers: HeapProd<A>,
    bell: Doorbell,
    is_due: bool,
}

/// An office for shards with these doorbells, each with at most `capacity` open orders.
pub fn open<O, A>(shards: &[Doorbell], capacity: usize) -> (Office<O, A>, Vec<Post<O, A>>) {
    let parker = Parker::new();
    let unparker = parker.unparker().clone();
    let bell = Doorbell::new(move || unparker.unpark());
    let (mut counters, mut posts) = (Vec::new(), Vec::new());
    for shard in shards {
        let (orders_in, orders_out) = HeapRb::new(capacity).split();
        let (answers_in, answers_out) = HeapRb::new(capacity).split();
        posts.push(Post { orders: orders_in, answers: answers_out, open: 0, bell: bell.clone(), is_due: false });
        counters.push(Counter { orders: orders_out, answers: answers_in, bell: shard.clone(), is_due: false });
    }
    (Office { counters, bell, parker, turn: 0 }, posts)
}

impl<O, A> Office<O, A> {
    /// The next order and who sent it; shards have turns.
    pub fn take(&mut self) -> Option<(usize, O)> {
        let shards = self.counters.len();
        for i in 0..shards {
            let shard = (self.turn + i) % shards;
            if let Some(order) = self.counters[shard].orders.try_pop() {
                self.turn = shard + 1;
                return Some((shard, order));
            }
        }
        None
    }

    /// Answers an order of that shard; it is told by [`Office::ring`].
    pub fn answer(&mut self, shard: usize, answer: A) {
        let Some(counter) = self.counters.get_mut(shard) else { return };
        // There is room: the order has claimed it. A shard that is gone needs no answer.
        let _ = counter.answers.try_push(answer);
        counter.is_due = true;
    }

    /// Wakes the shards that have answers.
    pub fn ring(&mut self) {
        for counter in self.counters.iter_mut().filter(|counter| counter.is_due) {
            counter.is_due = false;
            counter.bell.ring();
        }
    }

    /// Our doorbell, for others who want us to look.
    pub fn bell(&self) -> Doorbell {
        self.bell.clone()
    }

    /// We are awake and look. Before the look, never after it.
    pub fn awake(&self) {
        self.bell.awake();
    }

    /// Sleeps until rung, for at most so long; not at all if we were rung since we last looked.
    pub fn sleep(&self, most: Duration) {
        if self.bell.may_sleep() {
            self.parker.park_timeout(most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bells(n: usize) -> Vec<Doorbell> {
        (0..n).map(|_| Doorbell::new(|| ())).collect()
    }

    #[test]
    fn each_order_is_answered_to_its_shard_and_shards_have_turns() {
        let bells = bells(2);
        let (mut office, mut posts) = open::<u32, u32>(&bells, 8);
        for i in 0..3 {
            posts[0].send(i).unwrap();
            posts[1].send(10 + i).unwrap();
        }
        let mut order = Vec::new();
        while let Some((shard, n)) = office.take() {
            order.push(n);
            office.answer(shard, n * 2);
        }
        assert_eq!(order, [0, 10, 1, 11, 2, 12]);
        bells.iter().for_each(Doorbell::awake);
        office.ring();
        assert!(bells.iter().all(Doorbell::is_rung));
        let answers = |post: &mut Post<u32, u32>| std::iter::from_fn(|| post.take()).collect::<Vec<_>>();
        assert_eq!(answers(&mut posts[0]), [0, 2, 4]);
        assert_eq!(answers(&mut posts[1]), [20, 22, 24]);
    }

    #[test]
    fn an_order_claims_the_room_of_its_answer() {
        let bells = bells(1);
        let (mut office, mut posts) = open::<u32, u32>(&bells, 2);
        let post = &mut posts[0];
        assert_eq!((post.send(1), post.send(2), post.send(3)), (Ok(()), Ok(()), Err(3)));
        while let Some((shard, n)) = office.take() {
            office.answer(shard, n);
        }
        assert_eq!(post.send(3), Err(3), "its answer would find no room");
        assert_eq!((post.take(), post.open()), (Some(1), 1));
        assert_eq!(post.send(3), Ok(()));
        drop(office);
        assert_eq!(post.take(), Some(2));
        assert_eq!(post.send(4), Err(4), "nobody is there");
    }

    #[test]
    fn the_office_wakes_when_it_is_rung() {
        let (mut office, mut posts) = open::<u32, u32>(&bells(1), 2);
        let thread = std::thread::spawn(move || {
            loop {
                office.awake();
                if let Some((_, n)) = office.take() {
                    return n;
                }
                office.sleep(Duration::from_secs(600));
            }
        });
        posts[0].send(7).unwrap();
        posts[0].ring();
        assert_eq!(thread.join().unwrap(), 7);
    }
}
