//! How many cells each part of a disk gets.
//!
//! It knows amounts and cells, no terminal. Invariant: the cells add up to the width, and whatever is there has at least
//! one, as long as there are as many cells as parts.

/// Shares `width` cells out in proportion to `weights`.
///
/// # Panics
/// There are more weights above zero than cells: the caller has to join some first.
pub(crate) fn cells(weights: &[u64], width: usize) -> Vec<usize> {
    let present = weights.iter().filter(|weight| **weight > 0).count();
    assert!(present <= width, "{present} parts do not fit into {width} cells");
    let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    if total == 0 {
        return vec![0; weights.len()];
    }
    let exact = |weight: u64| u128::from(weight) * width as u128;
    let mut cells: Vec<usize> = weights
        .iter()
        .map(|weight| {
            let floor = usize::try_from(exact(*weight) / total).unwrap_or(width);
            floor.max(usize::from(*weight > 0))
        })
        .collect();
    loop {
        let sum: usize = cells.iter().sum();
        if sum == width {
            return cells;
        }
        // How far a part is from its due, in cells times the total: the one furthest away gives or gets one.
        let due = |index: usize| i128::try_from(exact(weights[index])).unwrap_or(i128::MAX);
        let has = |index: usize| i128::try_from(cells[index] as u128 * total).unwrap_or(i128::MAX);
        let candidates = (0..weights.len()).filter(|index| weights[*index] > 0);
        if sum < width {
            let index = candidates.max_by_key(|i| (due(*i) - has(*i), std::cmp::Reverse(*i)));
            cells[index.expect("a total above zero has a part")] += 1;
        } else {
            let rich = candidates.filter(|index| cells[*index] > 1);
            let index = rich.max_by_key(|i| (has(*i) - due(*i), cells[*i], std::cmp::Reverse(*i)));
            cells[index.expect("more cells than parts")] -= 1;
        }
    }
}

/// How long the bar of a disk is when the largest has `width` cells, and at least `least`.
pub(crate) fn length(size: u64, largest: u64, width: usize, least: usize) -> usize {
    if largest == 0 {
        return width;
    }
    let exact = (u128::from(size) * width as u128 + u128::from(largest) / 2) / u128::from(largest);
    usize::try_from(exact).unwrap_or(width).max(least).min(width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_follow_the_weights_and_nothing_that_is_there_vanishes() {
        for (weights, width, wanted) in [
            (&[1, 1][..], 10, &[5, 5][..]),
            (&[1, 1, 1], 10, &[4, 3, 3]),
            (&[0, 7, 0], 10, &[0, 10, 0]),
            (&[1_000_000, 1, 1], 10, &[8, 1, 1]),
            (&[u64::MAX, u64::MAX, 1], 21, &[10, 10, 1]),
            (&[5, 5, 5], 3, &[1, 1, 1]),
            (&[0, 0], 10, &[0, 0]),
            (&[], 10, &[]),
        ] {
            assert_eq!(cells(weights, width), wanted, "{weights:?} in {width}");
        }
        // Every width, many shapes: the sum is the width, and nothing is missing.
        for width in 8..200 {
            for seed in 1..40_u64 {
                let weights: Vec<u64> =
                    (1..=8).map(|n| (seed * n * 2_654_435_761) % 10_000 / (n * n)).collect();
                let found = cells(&weights, width);
                assert_eq!(found.iter().sum::<usize>(), width, "{weights:?}");
                for (weight, cells) in weights.iter().zip(&found) {
                    assert_eq!(*weight > 0, *cells > 0, "{weights:?} in {width}: {found:?}");
                }
            }
        }
    }

    #[test]
    fn bars_are_as_long_as_their_disks_but_never_too_short_to_read() {
        for (size, largest, wanted) in
            [(100, 100, 76), (50, 100, 38), (1, 100, 16), (0, 100, 16), (0, 0, 76), (99, 100, 75)]
        {
            assert_eq!(length(size, largest, 76, 16), wanted, "{size} of {largest}");
        }
    }
}
