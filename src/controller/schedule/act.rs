//! Carries out one effect of a schedule's plan. What exists already under the name of a Scan is never changed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, ObjectMeta, Preconditions};
use kube::{Api, Resource, ResourceExt};

use super::names;
use super::observed::{Facts, Outcome, Turn};
use super::plan::{Doomed, Effect};
use crate::controller::effects::{self, Subject};
use crate::controller::{Context, Error, Reason, writes};
use crate::crd::{SCHEDULE_LABEL, SCHEDULED_AT_ANNOTATION, Scan, ScanRun, ScanSchedule, ScanScheduleStatus};

/// Carries out `effect`, and gives the object as it is then.
///
/// # Errors
/// When this replica does not lead, or Kubernetes does not take a write.
pub(super) async fn act(
    schedule: ScanSchedule,
    effect: Effect,
    facts: &mut Facts,
    ctx: &Context,
) -> Result<ScanSchedule, Error> {
    match effect {
        Effect::Record(status, said) => {
            let written = write_status(schedule, *status, ctx).await?;
            facts.turns.clear();
            if let Some(said) = said {
                ctx.say(&written.object_ref(&()), true, said.reason, "Schedule", said.note).await;
            }
            Ok(written)
        }
        Effect::TakeTurns(turns) => {
            facts.took_turns = true;
            for turn in turns {
                let outcome = if turn.starts { make(&schedule, &turn, ctx).await? } else { Made::LeftOut };
                let outcome = match outcome {
                    Made::Now | Made::Before => Outcome::Made,
                    Made::Taken => Outcome::Taken,
                    Made::LeftOut => Outcome::LeftOut,
                    Made::Refused(why) => {
                        facts.refused = Some(why);
                        break;
                    }
                };
                facts.turns.push((turn, outcome));
            }
            Ok(schedule)
        }
        Effect::Delete(doomed) => {
            for scan in doomed {
                delete(&schedule, &scan, ctx).await?;
                facts.deleted.insert(scan.name);
            }
            Ok(schedule)
        }
    }
}

/// What became of a Scan to be made.
enum Made {
    /// It was made.
    Now,
    /// It had been made.
    Before,
    /// Its name belongs to somebody else's object.
    Taken,
    /// None was wanted.
    LeftOut,
    /// Kubernetes does not want it, and says why.
    Refused(String),
}

async fn make(schedule: &ScanSchedule, turn: &Turn, ctx: &Context) -> Result<Made, Error> {
    leads(ctx)?;
    let Some(run) = schedule.status.as_ref().and_then(|status| status.run.as_ref()) else {
        return Ok(Made::LeftOut);
    };
    let scan = scan(schedule, run, turn);
    ctx.metrics.effect("ScanSchedule", "make_scan");
    let work = async {
        let made = match scans(schedule, ctx).create(&writes::post(), &scan).await {
            Ok(_) => Made::Now,
            Err(kube::Error::Api(status)) if status.code == 409 => whose(schedule, turn, ctx).await?,
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => {
                Made::Refused(status.message.chars().take(300).collect())
            }
            Err(error) => return Err(Error::kubernetes("make a Scan")(error)),
        };
        let (name, connector) = (&turn.name, &turn.connector);
        let said = match &made {
            Made::Now => format!("Scan {name} of Connector {connector} made"),
            Made::Before | Made::LeftOut => format!("Scan {name} is there already"),
            Made::Taken => format!("{name} is the name of somebody else's Scan"),
            Made::Refused(why) => format!("Scan {name} refused: {why}"),
        };
        Ok((made, Some(said)))
    };
    let made = Subject::new("ScanSchedule", &schedule.metadata).log("make_scan", false, work).await?;
    if let Made::Now = made {
        let note = format!("made Scan {} of Connector {}", turn.name, turn.connector);
        ctx.say(&schedule.object_ref(&()), false, Reason::ScanMade, "Schedule", note).await;
    }
    Ok(made)
}

/// Whose object has the name of a Scan to be made.
async fn whose(schedule: &ScanSchedule, turn: &Turn, ctx: &Context) -> Result<Made, Error> {
    let read = scans(schedule, ctx).get_metadata_opt(&turn.name).await;
    let Some(found) = read.map_err(Error::kubernetes("read the Scan"))? else {
        return Err(Error::Conflict { what: "the Scan" });
    };
    let uid = schedule.uid();
    let ours = found.metadata.owner_references.iter().flatten().any(|owner| Some(&owner.uid) == uid.as_ref());
    Ok(if ours { Made::Before } else { Made::Taken })
}

fn scan(schedule: &ScanSchedule, run: &ScanRun, turn: &Turn) -> Scan {
    let template = &schedule.spec.scan_template;
    let mut labels = template.metadata.labels.clone();
    labels.insert(SCHEDULE_LABEL.to_owned(), names::label(&schedule.name_any()));
    let mut annotations = template.metadata.annotations.clone();
    let time = run.request.clone().unwrap_or_else(|| run.time.to_string());
    annotations.insert(SCHEDULED_AT_ANNOTATION.to_owned(), time);
    let mut scan = Scan::new(&turn.name, template.spec.scan_of(&turn.connector));
    scan.metadata = ObjectMeta {
        namespace: schedule.namespace(),
        labels: Some(labels),
        annotations: Some(annotations),
        owner_references: Some(vec![owner(schedule)]),
        ..scan.metadata
    };
    scan
}

/// It does not hold the schedule's deletion: that would need a right to change finalizers, and a Scan has none to wait for.
fn owner(schedule: &ScanSchedule) -> OwnerReference {
    OwnerReference {
        api_version: ScanSchedule::api_version(&()).into_owned(),
        kind: ScanSchedule::kind(&()).into_owned(),
        name: schedule.name_any(),
        uid: schedule.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

async fn delete(schedule: &ScanSchedule, scan: &Doomed, ctx: &Context) -> Result<(), Error> {
    leads(ctx)?;
    ctx.metrics.effect("ScanSchedule", "delete_scan");
    let only = Preconditions { uid: Some(scan.uid.clone()), resource_version: scan.version.clone() };
    let params = DeleteParams { preconditions: Some(only), ..DeleteParams::default() };
    let work = async {
        match scans(schedule, ctx).delete(&scan.name, &params).await {
            Ok(_) => Ok(((), Some(format!("Scan {} deleted", scan.name)))),
            // It is gone, or it is not what it was any more, and stays.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                Ok(((), Some(format!("Scan {} is not deleted: {}", scan.name, status.message))))
            }
            Err(error) => Err(Error::kubernetes("delete a Scan")(error)),
        }
    };
    Subject::new("ScanSchedule", &schedule.metadata).log("delete_scan", false, work).await
}

/// Writes the status, guarded by the resourceVersion, and says so where `Ready` turned.
///
/// # Errors
/// When this replica does not lead, somebody else wrote the object since it was read, or Kubernetes does not answer.
pub(super) async fn write_status(
    mut schedule: ScanSchedule,
    status: ScanScheduleStatus,
    ctx: &Context,
) -> Result<ScanSchedule, Error> {
    leads(ctx)?;
    let subject = Subject::new("ScanSchedule", &schedule.metadata);
    let work = async {
        let old = schedule.status.replace(status.clone()).unwrap_or_default();
        let turned = effects::turned(&old.conditions, &status.conditions);
        let written = api(&schedule, ctx)
            .replace_status(&schedule.name_any(), &writes::post(), &schedule)
            .await
            .map_err(Error::kubernetes("write the schedule's status"))?;
        if let Some(ready) = turned {
            ctx.say_ready(&written.object_ref(&()), ready).await;
        }
        Ok((written, turned.map(effects::words)))
    };
    subject.log("status", false, work).await
}

/// The object as the API server has it; none if it is gone, or another one has its name.
///
/// # Errors
/// When the API server does not answer.
pub(super) async fn read_back(schedule: &ScanSchedule, ctx: &Context) -> Result<Option<ScanSchedule>, Error> {
    let read = api(schedule, ctx).get_opt(&schedule.name_any()).await;
    let found = read.map_err(Error::kubernetes("read the schedule"))?;
    Ok(found.filter(|found| found.metadata.uid == schedule.metadata.uid))
}

fn leads(ctx: &Context) -> Result<(), Error> {
    if ctx.leadership.leads() { Ok(()) } else { Err(Error::NotLeading) }
}

fn api(schedule: &ScanSchedule, ctx: &Context) -> Api<ScanSchedule> {
    Api::namespaced(ctx.client.clone(), &schedule.namespace().unwrap_or_default())
}

fn scans(schedule: &ScanSchedule, ctx: &Context) -> Api<Scan> {
    Api::namespaced(ctx.client.clone(), &schedule.namespace().unwrap_or_default())
}
