//! What a caller asks of a scan, checked once and turned into what the runner works by.

use connectors_api::{ScanOptions, ScanType, Scope};
use serde::{Deserialize, Serialize};

use crate::storage::{common_prefixes, common_types, distinct_prefixes};
use crate::store::NewScan;

/// Most workers of one scan.
pub(crate) const MAX_WORKERS: u32 = 16;

/// Documented default of `timeout_minutes`.
const DEFAULT_TIMEOUT_MINUTES: u32 = 120;

/// Longest time limit that is taken: a week.
const MAX_TIMEOUT_MINUTES: u32 = 7 * 24 * 60;

/// The runner's options, as they stand in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobOptions {
    /// Most files to scan.
    pub(crate) max_files: Option<u64>,
    /// Most files that are scanned at the same time.
    pub(crate) max_workers: Option<u32>,
    /// Extensions to scan; none means all.
    pub(crate) file_types: Vec<String>,
    /// Time limit, from the first start on.
    pub(crate) timeout_minutes: u32,
}

/// Plans a scan within the scope of its connector. The error is a sentence for the caller.
pub(crate) fn plan(kind: &ScanType, options: &ScanOptions, scope: &Scope) -> Result<NewScan, String> {
    let kind = match kind {
        ScanType::Full => "full",
        ScanType::Incremental => "incremental",
        ScanType::Other(word) => {
            return Err(format!("type must be \"full\" or \"incremental\", not {word:?}"));
        }
    };
    let ScanOptions { max_files, max_workers, file_types, prefixes, llm_assist, timeout_minutes } = options;
    if *llm_assist == Some(true) {
        return Err("options.llm_assist: this server has no language model; leave it out".to_owned());
    }
    if *max_files == Some(0) {
        return Err("options.max_files must be at least 1".to_owned());
    }
    if *max_workers == Some(0) {
        return Err("options.max_workers must be at least 1".to_owned());
    }
    let timeout_minutes = timeout_minutes.unwrap_or(DEFAULT_TIMEOUT_MINUTES);
    if timeout_minutes == 0 || timeout_minutes > MAX_TIMEOUT_MINUTES {
        return Err(format!("options.timeout_minutes must be between 1 and {MAX_TIMEOUT_MINUTES}"));
    }
    if let Some(bad) = prefixes.iter().find(|p| !p.ends_with('/')) {
        return Err(format!("options.prefixes: {bad:?} must end with \"/\""));
    }
    if let Some(bad) = file_types.iter().find(|t| t.is_empty() || t.contains(['.', '/'])) {
        return Err(format!("options.file_types: {bad:?} must be an extension without the dot"));
    }
    let prefixes = common_prefixes(&scope.prefixes, prefixes)
        .ok_or_else(|| "options.prefixes lies outside of the connector's prefixes".to_owned())?;
    let file_types = common_types(&scope.file_types, file_types)
        .ok_or_else(|| "options.file_types has none of the connector's file types".to_owned())?;
    let job = JobOptions { max_files: *max_files, max_workers: *max_workers, file_types, timeout_minutes };
    let prefixes = distinct_prefixes(&prefixes);
    let mut buckets = scope.buckets.clone();
    buckets.sort();
    buckets.dedup();
    let listings =
        buckets.iter().flat_map(|b| prefixes.iter().map(move |p| (b.clone(), p.clone()))).collect();
    let options = serde_json::to_string(&job).map_err(|error| error.to_string())?;
    Ok(NewScan { kind, options, listings })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope {
            buckets: vec!["b".to_owned(), "a".to_owned(), "a".to_owned()],
            prefixes: vec!["in/".to_owned()],
            file_types: vec!["csv".to_owned()],
        }
    }

    fn refusal(options: ScanOptions) -> String {
        plan(&ScanType::Full, &options, &scope()).unwrap_err()
    }

    #[test]
    fn a_plan_lists_each_bucket_and_prefix_once() {
        let options =
            ScanOptions { prefixes: vec!["in/x/".to_owned(), "in/x/y/".to_owned()], ..Default::default() };
        let plan = plan(&ScanType::Incremental, &options, &scope()).unwrap();
        assert_eq!(plan.kind, "incremental");
        assert_eq!(
            plan.listings,
            [("a".to_owned(), "in/x/".to_owned()), ("b".to_owned(), "in/x/".to_owned())]
        );
        let job: JobOptions = serde_json::from_str(&plan.options).unwrap();
        assert_eq!((job.timeout_minutes, job.file_types), (120, vec!["csv".to_owned()]));
    }

    #[test]
    fn options_that_make_no_sense_are_refused_by_name() {
        let list = |item: &str| vec![item.to_owned()];
        for (options, expected) in [
            (
                ScanOptions { llm_assist: Some(true), ..Default::default() },
                "options.llm_assist: this server has no",
            ),
            (
                ScanOptions { max_files: Some(0), ..Default::default() },
                "options.max_files must be at least 1",
            ),
            (
                ScanOptions { max_workers: Some(0), ..Default::default() },
                "options.max_workers must be at least 1",
            ),
            (
                ScanOptions { timeout_minutes: Some(0), ..Default::default() },
                "options.timeout_minutes must be between",
            ),
            (
                ScanOptions { prefixes: list("in"), ..Default::default() },
                "options.prefixes: \"in\" must end with",
            ),
            (ScanOptions { prefixes: list("out/"), ..Default::default() }, "options.prefixes lies outside"),
            (
                ScanOptions { file_types: list(".csv"), ..Default::default() },
                "options.file_types: \".csv\" must be",
            ),
            (ScanOptions { file_types: list("json"), ..Default::default() }, "options.file_types has none"),
        ] {
            let message = refusal(options);
            assert!(message.starts_with(expected), "{message}");
        }
        assert!(
            plan(&ScanType::from("smart"), &ScanOptions::default(), &scope())
                .unwrap_err()
                .contains("\"smart\"")
        );
        assert!(
            plan(&ScanType::Full, &ScanOptions { llm_assist: Some(false), ..Default::default() }, &scope())
                .is_ok()
        );
    }
}
