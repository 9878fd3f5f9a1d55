//! The few statistics that hold up under noise: medians and Theil–Sen slopes.

/// The middle value; the mean of the two middle ones for an even number.
///
/// # Panics
/// There is no value.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    assert!(!values.is_empty(), "a median needs at least one value");
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}

/// The value below which `share` of all lie.
///
/// # Panics
/// There is no value.
#[must_use]
pub fn quantile(values: &[f64], share: f64) -> f64 {
    assert!(!values.is_empty(), "a quantile needs at least one value");
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index below the length"
    )]
    let index = (share * (sorted.len() - 1) as f64).round() as usize;
    sorted[index.min(sorted.len() - 1)]
}

/// The bounds of the median: 95 of 100 medians of values drawn again from these lie between them. Drawn the same way each time.
///
/// # Panics
/// There is no value.
#[must_use]
pub fn bootstrap(values: &[f64]) -> (f64, f64) {
    const DRAWS: usize = 2_000;
    let count = u64::try_from(values.len()).unwrap_or(u64::MAX);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let index = usize::try_from((mixed ^ (mixed >> 31)) % count).unwrap_or(0);
        values[index]
    };
    let medians: Vec<f64> = (0..DRAWS)
        .map(|_draw| median(&values.iter().map(|_value| draw()).collect::<Vec<_>>()))
        .collect();
    (quantile(&medians, 0.025), quantile(&medians, 0.975))
}

/// The median slope over all pairs of points in log–log space: how the cost grows with the size.
#[must_use]
pub fn theil_sen(points: &[(f64, f64)]) -> f64 {
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let mut slopes = Vec::new();
    for (i, (x1, y1)) in logs.iter().enumerate() {
        for (x2, y2) in logs.iter().skip(i + 1) {
            if (x2 - x1).abs() > f64::EPSILON {
                slopes.push((y2 - y1) / (x2 - x1));
            }
        }
    }
    median(&slopes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_and_middles_of_known_values() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} is not {b}");
        close(median(&[3.0, 1.0, 2.0]), 2.0);
        close(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        close(quantile(&[1.0, 2.0, 3.0, 4.0, 5.0], 1.0), 5.0);
        assert_eq!(bootstrap(&[2.0, 2.0, 2.0]), (2.0, 2.0));
        let (low, high) = bootstrap(&[1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 9.0]);
        assert!((1.0..1.4).contains(&low) && (1.4..1.8).contains(&high), "{low} {high}");
        close(theil_sen(&[(1.0, 2.0), (10.0, 20.0), (100.0, 200.0)]), 1.0);
        // One wild point of five does not move it.
        let wild = [(1.0, 7.0), (10.0, 7.0), (100.0, 7.0), (1000.0, 7.0), (1e4, 9e9)];
        close(theil_sen(&wild), 0.0);
    }
}
