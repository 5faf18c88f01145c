//! The matcher against a model that does everything by walking through lists.

use proptest::prelude::*;

use super::{Arrived, Matcher, Pattern, Posted, Space, Tag};

#[derive(Default)]
struct Model {
    posted: Vec<(Space, Pattern<u8>, u32)>,
    arrived: Vec<(Space, Tag<u8>, u32)>,
}

impl Model {
    fn take_posted(&mut self, space: Space, tag: &Tag<u8>) -> Option<u32> {
        let accepts = |(s, p, _): &(Space, Pattern<u8>, u32)| *s == space && p.accepts(tag);
        let place = self.posted.iter().position(accepts)?;
        Some(self.posted.remove(place).2)
    }

    fn find_arrived(&self, space: Space, pattern: &Pattern<u8>) -> Option<usize> {
        let accepted = |(s, t, _): &(Space, Tag<u8>, u32)| *s == space && pattern.accepts(t);
        self.arrived.iter().position(accepted)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Receive(Space, Pattern<u8>),
    Message(Space, Tag<u8>),
    Probe(Space, Pattern<u8>),
    Unpost(prop::sample::Index),
    Discard(prop::sample::Index),
}

fn space() -> impl Strategy<Value = Space> {
    prop_oneof![9 => Just(Space::Tagged), 1 => Just(Space::Plain)]
}

/// Few values and few masks, so that much matches and much collides; more masks than there are indexes.
fn pattern() -> impl Strategy<Value = Pattern<u8>> {
    let masks = prop_oneof![
        Just(!0_u64),
        Just(0),
        Just(1),
        Just(6),
        Just(3),
        Just(5),
        0..8_u64
    ];
    (0..8_u64, masks, prop::option::of(0..3_u8)).prop_map(|(value, mask, source)| Pattern {
        // Sometimes with bits outside of the mask: such a receive matches nothing.
        match_info: if value == 7 { value } else { value & mask },
        mask,
        source,
    })
}

fn tag() -> impl Strategy<Value = Tag<u8>> {
    (0..8_u64, 0..3_u8).prop_map(|(match_info, source)| Tag { match_info, source })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (space(), pattern()).prop_map(|(s, p)| Step::Receive(s, p)),
        5 => (space(), tag()).prop_map(|(s, t)| Step::Message(s, t)),
        2 => (space(), pattern()).prop_map(|(s, p)| Step::Probe(s, p)),
        1 => any::<prop::sample::Index>().prop_map(Step::Unpost),
        1 => any::<prop::sample::Index>().prop_map(Step::Discard),
    ]
}

/// The matcher, the model, and the handles of what is queued in both.
#[derive(Default)]
struct Both {
    model: Model,
    posted: Vec<(u32, Posted)>,
    arrived: Vec<(u32, Arrived)>,
}

impl Both {
    fn forget_posted(&mut self, id: Option<u32>) {
        self.posted.retain(|(known, _)| Some(*known) != id);
    }

    fn forget_arrived(&mut self, id: Option<u32>) {
        self.arrived.retain(|(known, _)| Some(*known) != id);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_answer_is_that_of_a_walk_through_the_lists(
        seed: u64,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut matcher: Matcher<u32, u32, u8> = Matcher::new(seed);
        let mut both = Both::default();
        for (id, step) in (0_u32..).zip(steps) {
            match step {
                Step::Receive(space, pattern) => {
                    let place = both.model.find_arrived(space, &pattern);
                    let expected = place.map(|place| both.model.arrived.remove(place).2);
                    let got = matcher.take_arrived(space, &pattern);
                    prop_assert_eq!(got, expected);
                    both.forget_arrived(expected);
                    if expected.is_none() {
                        both.model.posted.push((space, pattern, id));
                        both.posted.push((id, matcher.post(space, pattern, id)));
                    }
                }
                Step::Message(space, tag) => {
                    let expected = both.model.take_posted(space, &tag);
                    prop_assert_eq!(matcher.take_posted(space, &tag), expected);
                    both.forget_posted(expected);
                    if expected.is_none() {
                        both.model.arrived.push((space, tag, id));
                        both.arrived.push((id, matcher.arrive(space, tag, id)));
                    }
                }
                Step::Probe(space, pattern) => {
                    let place = both.model.find_arrived(space, &pattern);
                    let expected = place.map(|place| both.model.arrived[place].2);
                    prop_assert_eq!(matcher.find_arrived(space, &pattern), expected);
                }
                Step::Unpost(which) if !both.posted.is_empty() => {
                    let (id, posted) = *which.get(&both.posted);
                    prop_assert_eq!(matcher.unpost(posted), Some(id));
                    prop_assert_eq!(matcher.unpost(posted), None);
                    both.forget_posted(Some(id));
                    both.model.posted.retain(|(_, _, known)| *known != id);
                }
                Step::Discard(which) if !both.arrived.is_empty() => {
                    let (id, arrived) = *which.get(&both.arrived);
                    prop_assert_eq!(matcher.remove_arrived(arrived), Some(id));
                    prop_assert_eq!(matcher.remove_arrived(arrived), None);
                    both.forget_arrived(Some(id));
                    both.model.arrived.retain(|(_, _, known)| *known != id);
                }
                Step::Unpost(_) | Step::Discard(_) => {}
            }
            prop_assert_eq!(matcher.posted_len(), both.posted.len());
            prop_assert_eq!(matcher.arrived_len(), both.arrived.len());
        }
    }
}

const ALL: u64 = !0;

fn exact(match_info: u64) -> Pattern<u8> {
    Pattern {
        match_info,
        mask: ALL,
        source: None,
    }
}

#[test]
fn the_receive_posted_first_wins_whatever_its_mask() {
    let mut matcher: Matcher<u32, u32, u8> = Matcher::new(1);
    let any = Pattern {
        match_info: 0,
        mask: 0,
        source: None,
    };
    let from_two = Pattern {
        match_info: 0,
        mask: 0,
        source: Some(2),
    };
    for (pattern, id) in [
        (exact(5), 0),
        (any, 1),
        (exact(5), 2),
        (from_two, 3),
        (any, 4),
    ] {
        matcher.post(Space::Tagged, pattern, id);
    }
    let tag = Tag {
        match_info: 5,
        source: 2,
    };
    let order: Vec<_> = std::iter::from_fn(|| matcher.take_posted(Space::Tagged, &tag)).collect();
    assert_eq!(order, [0, 1, 2, 3, 4]);
}

#[test]
fn many_masks_in_turn_still_find_the_oldest() {
    let mut matcher: Matcher<u32, u32, u8> = Matcher::new(1);
    for id in 0..100_u32 {
        let tag = Tag {
            match_info: u64::from(id),
            source: 0,
        };
        matcher.arrive(Space::Tagged, tag, id);
    }
    for round in 0..64 {
        let mask = 1 << (round % 7);
        let pattern = Pattern {
            match_info: mask,
            mask,
            source: None,
        };
        assert_eq!(
            matcher.find_arrived(Space::Tagged, &pattern),
            u32::try_from(mask).ok()
        );
    }
}
