//! The published risk score: `100 * (0.40 S + 0.25 V + 0.20 E + 0.15 X)`.
//!
//! From `docs.slim.io/governance/risk-scoring`, as far as it is printed there:
//!
//! * S, sensitivity: the published weight of the most sensitive category found. (How several categories
//!   combine is not printed; the highest is the reading under which adding data never lowers the score.)
//! * V, volume: `min(1, log10(n + 1) / 4)` with `n` findings.
//! * E, exposure: unknown. The documented permissions do not include reading ACLs, bucket policies or
//!   public access blocks. Taken as Internal (0.4): a bucket is closed to the public unless somebody
//!   opened it, and that the scanner reads it shows that it is not one person's alone.
//! * X, the fourth factor: its name and values are not printed, so it adds nothing (0). A score of this
//!   server therefore ends at 73, and is a lower bound of what a service that knows all factors says.

const SENSITIVITY: f64 = 0.40;
const VOLUME: f64 = 0.25;
const EXPOSURE: f64 = 0.20;

/// The published score of the level Internal.
const EXPOSURE_INTERNAL: f64 = 0.4;

/// Risk of `findings` findings of which the most sensitive has this weight, in percent. 0 to 100; 0 without findings.
pub(crate) fn score(findings: u64, sensitivity_percent: u8) -> u32 {
    if findings == 0 {
        return 0;
    }
    let sensitivity = f64::from(sensitivity_percent) / 100.0;
    let composite = SENSITIVITY * sensitivity + VOLUME * volume(findings) + EXPOSURE * EXPOSURE_INTERNAL;
    // Between 0 and 100 by construction.
    (100.0 * composite).round() as u32
}

fn volume(findings: u64) -> f64 {
    ((findings as f64 + 1.0).log10() / 4.0).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_volumes_come_out() {
        for (n, printed) in
            [(1, 0.075), (10, 0.25), (100, 0.50), (1000, 0.75), (10_000, 1.0), (1_000_000, 1.0)]
        {
            assert!((volume(n) - printed).abs() < 0.011, "{n}: {}", volume(n));
        }
    }

    #[test]
    fn nothing_found_is_no_risk_and_the_score_ends_where_the_page_says() {
        assert_eq!(score(0, 100), 0);
        assert_eq!(score(1_000_000, 100), 73);
        assert_eq!(score(318, 50), 44);
    }

    #[test]
    fn more_findings_and_more_sensitive_ones_never_lower_the_score() {
        for n in 1..2000 {
            assert!(score(n + 1, 50) >= score(n, 50));
            assert!(score(n, 90) >= score(n, 50));
        }
    }
}
