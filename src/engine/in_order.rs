//! Joined paths that workers look at before the planner does: sent out together, they come back in any order, and go on
//! in path order.

use super::listed::Looked;
use crate::model::Seen;
use crate::plan::join::Joined;
use std::collections::BTreeMap;

/// So many paths are looked at together.
const TOGETHER: usize = 256;

/// So many batches may be out or wait for one that is.
const AHEAD: u64 = 16;

/// So many that are back are many.
const BEHIND: usize = 8;

/// The number of a batch, by which its turn is known.
pub type Turn = u64;

/// What is between the join and the planner.
#[derive(Default)]
pub struct InOrder {
    gathered: Vec<Joined>,
    /// The turn of the next batch that goes out, and of the next that goes on.
    next: Turn,
    due: Turn,
    back: BTreeMap<Turn, Looked>,
}

impl InOrder {
    /// Whether this path must not go on by itself: it is to be looked at, or others before it are.
    pub fn wants(&self, joined: &Joined) -> bool {
        let listed = |seen: &Option<Seen>| *seen == Some(Seen::Listed);
        !self.is_empty() || listed(&joined.source) || listed(&joined.replica)
    }

    /// Whether all paths have gone on.
    pub fn is_empty(&self) -> bool {
        self.gathered.is_empty() && self.due == self.next
    }

    /// Whether no more may go out before some have gone on.
    pub fn is_far_ahead(&self) -> bool {
        self.next - self.due >= AHEAD
    }

    /// Whether much is back that has not gone on.
    pub fn is_behind(&self) -> bool {
        self.back.len() >= BEHIND
    }

    /// Takes the next path. Returns a batch to be looked at once there are enough of them.
    pub fn add(&mut self, joined: Joined) -> Option<(Turn, Vec<Joined>)> {
        self.gathered.push(joined);
        if self.gathered.len() >= TOGETHER { self.rest() } else { None }
    }

    /// Those that have not gone out, if there are any.
    pub fn rest(&mut self) -> Option<(Turn, Vec<Joined>)> {
        if self.gathered.is_empty() {
            return None;
        }
        let turn = self.next;
        self.next += 1;
        Some((turn, std::mem::take(&mut self.gathered)))
    }

    /// Takes a batch that was looked at.
    pub fn came_back(&mut self, turn: Turn, looked: Looked) {
        self.back.insert(turn, looked);
    }

    /// The next batch in path order, if it is back.
    pub fn go_on(&mut self) -> Option<Looked> {
        let looked = self.back.remove(&self.due)?;
        self.due += 1;
        Some(looked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EntryPath;
    use proptest::prelude::*;

    fn listed(number: usize, is_listed: bool) -> Joined {
        let source = if is_listed { Seen::Listed } else { Seen::Vanished };
        let path = EntryPath::from(format!("{number:05}").as_str());
        Joined { path, source: Some(source), replica: None, row: None }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_comes_back_in_any_order_goes_on_in_the_one_it_came_in(
            kinds in prop::collection::vec(prop::bool::weighted(0.1), 0..2000),
            which in prop::collection::vec(any::<prop::sample::Index>(), 16),
        ) {
            let mut order = InOrder::default();
            let (mut out, mut gone) = (Vec::new(), Vec::new());
            let mut which = which.iter().cycle();
            let mut settle = |order: &mut InOrder, out: &mut Vec<(Turn, Vec<Joined>)>, gone: &mut Vec<EntryPath>| {
                let (turn, batch) = out.swap_remove(which.next().unwrap().index(out.len()));
                let answers = batch.iter().map(|_| None).collect();
                order.came_back(turn, Looked { paths: batch, answers });
                while let Some(batch) = order.go_on() {
                    gone.extend(batch.into_iter().map(|(joined, _)| joined.path));
                }
            };
            for (number, is_listed) in kinds.iter().enumerate() {
                while order.is_far_ahead() {
                    settle(&mut order, &mut out, &mut gone);
                }
                let joined = listed(number, *is_listed);
                if order.wants(&joined) {
                    out.extend(order.add(joined));
                } else {
                    prop_assert!(!is_listed);
                    gone.push(joined.path);
                }
            }
            out.extend(order.rest());
            while !out.is_empty() {
                settle(&mut order, &mut out, &mut gone);
            }
            prop_assert!(order.is_empty());
            let came: Vec<EntryPath> = (0..kinds.len()).map(|number| listed(number, true).path).collect();
            prop_assert_eq!(gone, came);
        }
    }
}
