//! Runs plans side by side and says how each ended. The test command runs those that find most; `SLIMIO_CAMPAIGN=all`
//! runs every action at every step of every workload, and pairs of crashes. `SLIMIO_WORKLOAD` and `SLIMIO_PLAN` narrow the choice.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};

use crate::oracle;
use crate::plan::{Action, Api, At, Plan, Workload};
use crate::rig::Rig;
use crate::workload;

/// Plans under way at a time: most of a plan is waiting.
const ABREAST: usize = 10;
/// A plan that has not ended by then has failed.
const LIMIT: Duration = Duration::from_secs(900);

/// How a plan ended.
struct Report {
    plan: Plan,
    wrong: Vec<String>,
    hit: Vec<String>,
    /// Steps that passed, when nothing went wrong on purpose.
    trace: Vec<String>,
    left: usize,
    took: Duration,
    log: String,
}

async fn run(plan: Plan) -> Report {
    let begun = Instant::now();
    let rig = Rig::start_with("plan", plan.api.switches(), plan.elects).await;
    let ran = tokio::time::timeout(
        LIMIT,
        rig.keeping(async {
            match workload::run(plan.workload, &rig, &plan.triggers).await {
                Ok(expected) => oracle::verdict(&rig, &expected).await,
                Err(stuck) => {
                    let mut wrong = rig.director.violations();
                    wrong.push(stuck);
                    wrong
                }
            }
        }),
    );
    let wrong = ran.await.unwrap_or_else(|_| vec![format!("no end within {LIMIT:?}")]);
    let log = if wrong.is_empty() { String::new() } else { rig.log().await };
    let director = Arc::clone(&rig.director);
    Report {
        plan,
        wrong,
        hit: director.hit(),
        trace: director.trace(),
        left: director.left(),
        took: begun.elapsed(),
        log,
    }
}

async fn run_all(plans: Vec<Plan>) -> Vec<Report> {
    stream::iter(plans)
        .map(|plan| async move {
            let report = run(plan).await;
            let verdict = if report.wrong.is_empty() { "ok" } else { "FAILED" };
            eprintln!("{verdict} {} ({:.0} s)", report.plan, report.took.as_secs_f64());
            for wrong in &report.wrong {
                eprintln!("    {wrong}");
            }
            report
        })
        .buffer_unordered(ABREAST)
        .collect()
        .await
}

/// What can go wrong at a step of this name.
fn actions(step: &str) -> Vec<Action> {
    let first = step.ends_with(": sent") || step.ends_with(": received");
    let remote = !step.contains(' ') || step.split(' ').next().is_some_and(|word| word.ends_with(':'));
    let mut actions = vec![Action::Kill, Action::Terminate, Action::Freeze(3)];
    if first {
        actions.extend([Action::KillAfterSending, Action::AnswerLost, Action::Lost, Action::Late]);
        if remote {
            let more = [429, 500, 503].map(Action::Refused);
            actions.extend(more);
            actions.extend([Action::DoneButRefused(500), Action::Html, Action::CutOff]);
        } else {
            actions.extend([409, 429, 500].map(Action::Refused));
        }
    }
    actions
}

/// Plans for this workload, whose steps are those of a calm run.
fn plans(workload: Workload, trace: &[String], all: bool) -> Vec<Plan> {
    let mut plans = Vec::new();
    for (nth, step) in trace.iter().enumerate() {
        let at = |action| Plan::one(workload, At::Step(nth), action);
        if all {
            plans.extend(actions(step).into_iter().map(at));
            continue;
        }
        // Every instant at which a process can die, and every answer that can be lost. A way as long as that of a replacement
        // beside the old connector is tried at every third step; the campaign tries all of them.
        let long = matches!(
            workload,
            Workload::CreateFirst | Workload::CreateFirstReverted | Workload::CreateFirstDeleted
        );
        let dies = !step.ends_with(": answered") && (!long || nth % 3 == 0);
        plans.extend(dies.then(|| at(Action::Kill)));
        let answers = step.ends_with(": sent") || step.ends_with(": received");
        plans.extend((answers && workload == Workload::Create).then(|| at(Action::AnswerLost)));
    }
    plans
}

/// A second crash at each step of the recovery from a first one.
fn pairs(workload: Workload, trace: &[String]) -> Vec<Plan> {
    let kill = |nth| (At::Step(nth), Action::Kill);
    let seconds = trace.len();
    (0..trace.len())
        .flat_map(|first| (0..seconds - first).map(move |second| (first, second)))
        .map(|(first, second)| Plan { triggers: vec![kill(first), kill(second)], ..Plan::calm(workload) })
        .collect()
}

/// Points that are no step: the lease's renewals aside, before the first list and in mid-poll.
fn named(workload: Workload) -> Vec<Plan> {
    let at = |name: &str, nth, action| Plan::one(workload, At::Named(name.to_owned(), nth), action);
    vec![
        at("list_connectors: received", 0, Action::Kill),
        at("list_connectors: done", 1, Action::Kill),
        at("list_connectors: received", 0, Action::AnswerLost),
        at("list_connectors: received", 1, Action::Html),
        at("read_connector: received", 0, Action::AnswerLost),
        at("create_connector: received", 0, Action::DoneButRefused(500)),
        at("create_connector: received", 0, Action::Html),
        at("create_connector: received", 0, Action::CutOff),
        at("create_connector: received", 0, Action::Refused(429)),
        at("create_connector: received", 0, Action::Lost),
        at("create_connector: received", 0, Action::Late),
        at("create_connector: received", 0, Action::Freeze(3)),
        at("create_connector: received", 0, Action::KillAfterSending),
        at("update connectors/status: sent", 1, Action::Terminate),
        at("update workspaces/status: sent", 1, Action::Refused(409)),
    ]
}

/// A crash after the create, and then trouble on the way up: what the next start reads comes late, old or not at all.
fn on_the_way_up(workload: Workload) -> Vec<Plan> {
    let crash = (At::Named("create_connector: done".to_owned(), 0), Action::Kill);
    let troubles = [
        // Before its first list.
        ("list workspaces: sent", Action::Kill),
        ("list connectors: sent", Action::Refused(500)),
        ("list connectors: sent", Action::Refused(429)),
        ("list connectors: sent", Action::OlderList),
        ("watch connectors: sent", Action::WatchCut),
        ("watch connectors: sent", Action::WatchGone),
        ("watch connectors: sent", Action::EventHeld),
        ("watch connectors: sent", Action::Refused(410)),
        ("watch workspaces: sent", Action::EventHeld),
        ("get connectors: sent", Action::AnswerLost),
        ("get workspaces: sent", Action::Refused(500)),
        ("list_connectors: received", Action::Kill),
    ];
    let plan = |(name, action): (&str, Action)| Plan {
        triggers: vec![crash.clone(), (At::Named(name.to_owned(), 0), action)],
        ..Plan::calm(workload)
    };
    troubles.into_iter().map(plan).collect()
}

/// The API sends elsewhere, answers without end or a byte a second, or refuses the key while something is under way.
fn strange_answers(all: bool) -> Vec<Plan> {
    let at = |workload, route: &str, nth, action| {
        Plan::one(workload, At::Named(format!("{route}: received"), nth), action)
    };
    let mut plans = vec![
        at(Workload::Create, "create_connector", 0, Action::Dripped),
        at(Workload::Create, "create_connector", 0, Action::Redirected),
        at(Workload::Create, "create_connector", 0, Action::Endless),
        at(Workload::Create, "list_connectors", 1, Action::Redirected),
        at(Workload::Create, "list_connectors", 1, Action::Endless),
        at(Workload::Create, "test_connector", 0, Action::Redirected),
        at(Workload::Delete, "delete_connector", 0, Action::Redirected),
        at(Workload::Delete, "delete_connector", 0, Action::Endless),
        at(Workload::Delete, "read_connector", 0, Action::Redirected),
        at(Workload::Create, "create_connector", 0, Action::Refused(401)),
        at(Workload::Create, "list_connectors", 1, Action::Refused(401)),
        at(Workload::Create, "test_connector", 0, Action::Refused(403)),
        at(Workload::Delete, "delete_connector", 0, Action::Refused(403)),
    ];
    if all {
        let refused = [401, 403].map(Action::Refused);
        for route in ["list_connectors", "create_connector", "test_connector", "read_connector"] {
            plans.extend(refused.map(|action| at(Workload::Create, route, 0, action)));
        }
        plans.extend(refused.map(|action| at(Workload::Delete, "delete_connector", 0, action)));
        plans.push(at(Workload::Delete, "delete_connector", 0, Action::Dripped));
        plans.push(at(Workload::Create, "list_connectors", 1, Action::Dripped));
    }
    plans
}

/// The lease is got, renewed and given back.
fn at_the_lease() -> Vec<Plan> {
    let named = |name: &str, action| (At::Named(name.to_owned(), 0), action);
    let elected = |triggers| Plan { elects: true, triggers, ..Plan::calm(Workload::Create) };
    let (sent, acknowledged) = ("update leases: sent", "update leases: acknowledged");
    let mut plans = Vec::new();
    // While something is under way.
    for action in [Action::Kill, Action::AnswerLost, Action::Refused(409), Action::Refused(500)] {
        plans.push(elected(vec![named(sent, action)]));
    }
    plans.push(elected(vec![named(acknowledged, Action::Kill)]));
    // By a successor, and by one that ends in good order.
    for (end, action) in [
        (Action::Kill, Action::Kill),
        (Action::Kill, Action::AnswerLost),
        (Action::Terminate, Action::Kill),
        (Action::Terminate, Action::AnswerLost),
    ] {
        plans.push(elected(vec![named("create_connector: done", end), named(sent, action)]));
    }
    plans
}

/// A watch that does not tell of the deletion. What it was begun with is known, so it is begun anew before.
fn untold() -> Vec<Plan> {
    let begun_anew = (At::Named("list_connectors: received".to_owned(), 0), Action::Kill);
    let watch = |action| (At::Named("watch connectors: sent".to_owned(), 0), action);
    [Action::EventSwallowed, Action::WatchSilent]
        .map(|action| Plan {
            triggers: vec![begun_anew.clone(), watch(action)],
            ..Plan::calm(Workload::DeleteLater)
        })
        .into()
}

/// Every kind of API, in peace and with the answers lost that matter most.
fn at_every_api(all: bool) -> Vec<Plan> {
    let of = |api| {
        let lost = |route: &str| vec![(At::Named(format!("{route}: received"), 0), Action::AnswerLost)];
        let mut plans = vec![
            Plan { api, triggers: lost("create_connector"), ..Plan::calm(Workload::Create) },
            Plan { api, triggers: lost("delete_connector"), ..Plan::calm(Workload::SameNameAgain) },
        ];
        if all {
            plans.extend(Workload::ALL.map(|workload| Plan { api, ..Plan::calm(workload) }));
        }
        plans
    };
    Api::OTHERS.into_iter().flat_map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_plan_ends_as_promised() {
    let all = std::env::var("SLIMIO_CAMPAIGN").is_ok_and(|value| value == "all");
    let wanted = std::env::var("SLIMIO_WORKLOAD").ok();
    let chosen: Vec<Workload> = Workload::ALL
        .into_iter()
        .filter(|workload| wanted.as_ref().is_none_or(|wanted| *wanted == format!("{workload:?}")))
        .collect();
    assert!(!chosen.is_empty(), "no workload is called {wanted:?}");
    let calm = run_all(chosen.iter().map(|workload| Plan::calm(*workload)).collect()).await;
    // Those that wait longest come first.
    let mut todo = Vec::new();
    if chosen.contains(&Workload::Create) {
        todo.extend(strange_answers(all));
        todo.extend(at_the_lease());
        todo.extend(untold());
    }
    for report in &calm {
        let workload = report.plan.workload;
        let trace = &report.trace;
        assert!(!trace.is_empty(), "nothing passed the proxies in a calm run of {workload:?}");
        match workload {
            // Its steps come in any order: a few crashes among them.
            Workload::Twenty => {
                let step = if all { 7 } else { trace.len().div_ceil(4) };
                let nth = (0..trace.len()).step_by(step);
                todo.extend(nth.map(|nth| Plan::one(workload, At::Step(nth), Action::Kill)));
            }
            // What comes of them is judged in peace: a list that lies for longer than a create may take to appear is beyond what
            // is promised.
            Workload::ListEmptied | Workload::ListFlaps | Workload::DeleteLater => {}
            _ => todo.extend(plans(workload, trace, all)),
        }
        if workload == Workload::Create {
            todo.extend(named(workload));
            todo.extend(on_the_way_up(workload));
            todo.extend(at_every_api(all));
        }
        if all && matches!(workload, Workload::Create | Workload::Delete | Workload::Recreate) {
            todo.extend(pairs(workload, trace));
        }
    }
    // One plan again, by its line in a report or a part of it.
    if let Ok(line) = std::env::var("SLIMIO_PLAN") {
        todo.retain(|plan| plan.to_string().contains(&line));
        assert!(!todo.is_empty(), "no plan has {line:?} in its line");
    }
    // A claim that was opened for a spec that is taken back waits the longest.
    todo.sort_by_key(|plan| plan.workload != Workload::EditAndBack);
    let mut reports = calm;
    reports.extend(run_all(todo).await);
    let failed = conclude(&reports, all).await;
    assert!(failed.is_empty(), "{} plans failed:\n{}", failed.len(), failed.join("\n"));
}

/// Prints and keeps what was run and hit; the plans that failed.
async fn conclude(reports: &[Report], all: bool) -> Vec<String> {
    let mut hits: BTreeMap<&str, usize> = BTreeMap::new();
    for hit in reports.iter().flat_map(|report| &report.hit) {
        *hits.entry(hit).or_default() += 1;
    }
    let failed: Vec<&Report> = reports.iter().filter(|report| !report.wrong.is_empty()).collect();
    let unreached = reports.iter().filter(|report| report.left > 0).count();
    let mut text = format!(
        "fault plans: {} run, {} failed, {unreached} whose point never came, {} fault points hit\n",
        reports.len(),
        failed.len(),
        hits.len()
    );
    for (point, times) in &hits {
        let _ = writeln!(text, "  {times:4} times at {point}");
    }
    for report in &failed {
        let _ = writeln!(text, "\nFAILED {} (hit {:?})", report.plan, report.hit);
        report.wrong.iter().for_each(|wrong| text.push_str(&format!("  {wrong}\n")));
        // Whether it fails again says whether a seed of chance has to be looked for; it is a failure either way.
        if all {
            let again = run(report.plan.clone()).await;
            let _ = writeln!(
                text,
                "  again: {}",
                if again.wrong.is_empty() { "passes, so it is flaky" } else { "fails" }
            );
        }
        let _ = writeln!(text, "  operator's log:\n{}", report.log);
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join("fault-plans.txt");
    std::fs::write(&file, &text).expect("the report can be written");
    // What the test command shows at its end.
    let line = text.lines().next().unwrap_or_default();
    std::fs::write(folder.join("ran-fault-plans.txt"), line).expect("the summary can be written");
    let end = text.find("\nFAILED").unwrap_or(text.len());
    eprintln!("{}report: {}", &text[..end], file.display());
    // A plan whose point never came proves nothing; a few depend on timing.
    assert!(
        unreached * 4 <= reports.len(),
        "{unreached} of {} plans never came to their point",
        reports.len()
    );
    failed.iter().map(|report| format!("{}: {}", report.plan, report.wrong.join("; "))).collect()
}
