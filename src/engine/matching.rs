//! New files that are old ones under another name: the pairs that the planner's lists suggest, and what the
//! workers find when they compare their bytes.

use super::content::Comparison;
use super::inquiry::Reply;
use super::mended::Answer;
use super::naming::digests;
use super::workers::Window;
use crate::model::Digest;
use crate::plan::decide::Rules;
use crate::plan::links::Settled;
use crate::plan::pairing::{Pair, Pairing, Unnamed};
use crate::plan::step::Question;
use crate::plan::{Plan, moved};
use crate::store::local::LocalStore;
use std::collections::HashMap;

/// Pairs, or files to be hashed, in one piece of work; and bytes, but for one that is larger.
const FILES_TOGETHER: usize = 64;
const BYTES_TOGETHER: u64 = 4 << 20;

type LocalComparison<'e> = Comparison<'e, LocalStore, LocalStore>;

/// Turns copies and deletes of a complete plan into moves where one file only got another name.
pub fn match_files<'scope>(
    plan: &mut Plan,
    rules: &Rules,
    comparison: &'scope LocalComparison<'scope>,
    settled: &[Settled],
    window: &mut Window<'_, 'scope, Reply>,
) {
    let mut pairing = Pairing::of(plan, rules, comparison.source.device());
    let pairs = pairing.by_inode();
    compare(pairs, &mut pairing, comparison, window);
    let pairs = pairing.by_time();
    compare(pairs, &mut pairing, comparison, window);
    let named = name(pairing.unnamed(), comparison, window);
    let pairs = pairing.by_digest(&named);
    compare(pairs, &mut pairing, comparison, window);
    if pairing.finish().apply(plan) {
        plan.moved = moved::count(plan, settled);
    }
}

fn compare<'scope>(
    pairs: Vec<Pair>,
    pairing: &mut Pairing<'_>,
    comparison: &'scope LocalComparison<'scope>,
    window: &mut Window<'_, 'scope, Reply>,
) {
    let mut open: HashMap<_, Pair> = HashMap::new();
    let mut questions = Vec::with_capacity(pairs.len());
    for pair in pairs {
        questions.push((pair.source.fingerprint.size, pair.question()));
        open.insert(pair.to.clone(), pair);
    }
    let mut learn = |questions: Vec<Question>, answers: Vec<Answer>| {
        for (question, answer) in questions.iter().zip(answers) {
            if let Some((pair, knowledge)) = open.remove(question.path()).zip(answer.known()) {
                pairing.learn(pair, &knowledge);
            }
        }
    };
    let answer = |batch: Vec<Question>| {
        let answers = comparison.answer(&batch, None);
        Reply::Answers(batch, answers)
    };
    hand_out(questions, window, answer, |reply| {
        if let Reply::Answers(questions, answers) = reply {
            learn(questions, answers);
        }
    });
}

fn name<'scope>(
    files: Vec<Unnamed>,
    comparison: &'scope LocalComparison<'scope>,
    window: &mut Window<'_, 'scope, Reply>,
) -> Vec<(Unnamed, Digest)> {
    let mut named = Vec::new();
    let files = files.into_iter().map(|file| (file.source.fingerprint.size, file)).collect();
    let hash = |batch: Vec<Unnamed>| {
        let digests = digests(comparison, batch.iter().map(|file| (&file.path, &file.source)));
        let found = batch.into_iter().zip(digests);
        Reply::Named(found.filter_map(|(file, digest)| Some((file, digest?))).collect())
    };
    hand_out(files, window, hash, |reply| {
        if let Reply::Named(some) = reply {
            named.extend(some);
        }
    });
    named
}

/// Has the workers do `work` on all of `items`, each given with its bytes.
fn hand_out<'scope, T: Send + 'scope>(
    items: Vec<(u64, T)>,
    window: &mut Window<'_, 'scope, Reply>,
    work: impl Fn(Vec<T>) -> Reply + Send + Copy + 'scope,
    mut hear: impl FnMut(Reply),
) {
    let mut batch = Vec::new();
    let mut held = 0;
    let mut items = items.into_iter().peekable();
    while let Some((bytes, item)) = items.next() {
        held += bytes;
        batch.push(item);
        let goes_on = items.peek().is_some_and(|(next, _)| held + next <= BYTES_TOGETHER);
        if goes_on && batch.len() < FILES_TOGETHER {
            continue;
        }
        held = 0;
        let full = std::mem::take(&mut batch);
        while window.is_full() {
            window.next().into_iter().for_each(&mut hear);
        }
        window.submit(move || work(full));
    }
    while let Some(reply) = window.next() {
        hear(reply);
    }
}
